/** `Idempotency-Key` at the HTTP side: the same key and body give the same answer again. */
import { fingerprintOf, type Idempotency, type MessageState } from '@wa-dispatch/dispatch'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Problem } from '../../problems.ts'
import { refuse } from '../../validation.ts'

const NAME = 'idempotency-key'

/** Says that this answer was given before. */
export const markReplayed = (reply: FastifyReply): void => void reply.header('idempotency-replayed', 'true')

export const reusedKey = () =>
  new Problem('idempotency-key-reused', 'This Idempotency-Key was used for another address or body.')

/** @throws {Problem} 400 for a key that cannot be one */
export function keyOf({ headers }: FastifyRequest): string | undefined {
  const key = headers[NAME]
  if (key === undefined) return undefined
  if (typeof key === 'string' && /^[\x21-\x7e]{1,255}$/.test(key)) return key
  throw refuse([{ path: 'Idempotency-Key', message: 'must be 1 to 255 visible ASCII characters' }])
}

export interface Work<Answer> {
  idempotency: Idempotency
  /** Part of what a key stands for: the same key on another address is another request. */
  route: string
  /** As it was validated, so that the order of its fields does not matter. */
  body: unknown
  /** Message ids for a key that is new. */
  createIds(): Promise<string[]>
  /** @param repeats true when these ids were reserved by an earlier or simultaneous request */
  answer(ids: string[], repeats: boolean): Promise<Answer>
  /** Whether a repeat should get this very answer; a partial one should be completed by it. */
  final(answer: Answer): boolean
}

/** @throws {Problem} 422 when the key was used with another body */
export async function once<Answer>(
  request: FastifyRequest,
  reply: FastifyReply,
  key: string | undefined,
  work: Work<Answer>,
): Promise<Answer> {
  if (key === undefined) return work.answer(await work.createIds(), false)
  const { idempotency } = work
  const owner = request.caller!.name
  const fingerprint = fingerprintOf(work.route, work.body)
  const reserved = await idempotency.reserve(owner, key, fingerprint, await work.createIds())
  if (reserved.kind === 'conflict') throw reusedKey()
  const repeats = reserved.kind === 'repeat'
  if (repeats) {
    markReplayed(reply)
    if (reserved.answer !== undefined) return reserved.answer as Answer
  }
  const answer = await work.answer(reserved.ids, repeats)
  if (work.final(answer)) {
    try {
      await idempotency.complete(owner, key, fingerprint, reserved.ids, answer)
    } catch (error) {
      // What was accepted is accepted; a repeat goes on with the same ids.
      request.log.warn({ reason: (error as Error).message }, 'idempotency.answer_not_kept')
    }
  }
  return answer
}

/** The state in which a message was accepted, also when it has moved on since: a repeat says what the first said. */
export const acceptedAs = (state: MessageState, repeats: boolean): MessageState =>
  repeats && state !== 'scheduled' ? 'queued' : state
