/** `POST /v1/messages/batch`: up to a thousand messages, each judged by itself. */
import {
  type MessageId,
  type MessageRequest,
  messageRequestSchema,
  parseMessageId,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { asProblem, type ProblemDocument, problemSchema, storeAway } from '../../problems.ts'
import { fieldErrorsOf, pathOf, refuse } from '../../validation.ts'
import { type Accepted, acceptedSchema } from './accept.ts'
import { acceptedAs, keyOf, once } from './idempotency-key.ts'
import type { MessageRouteOptions } from './index.ts'

const BATCH_BYTES = 8 * 1_048_576

const batchSchema = z.strictObject({
  // Each is validated by itself, so that a bad one does not refuse the others.
  messages: z
    .array(z.unknown().meta({ allOf: [{ $ref: '#/components/schemas/MessageRequestInput' }] }))
    .min(1, 'at least one message')
    .max(1_000, 'at most 1,000 messages'),
})

const resultSchema = z.union([acceptedSchema, z.object({ error: problemSchema })])
type Result = Accepted | { error: ProblemDocument }
interface Answer {
  results: Result[]
}

/** A message of the batch: fit, or refused. */
type Judged = { request: MessageRequest } | { request: undefined; error: ProblemDocument; raw: unknown }

/** Stands for the id of a message that was refused. */
const NO_ID = ''
const SERVER_FAULT = 500

export function batchRoute(app: App, { storage, metrics, postBacks }: MessageRouteOptions): void {
  const { intake, ledger, idempotency } = storage

  async function judge(raw: unknown): Promise<Judged> {
    const parsed = messageRequestSchema.safeParse(raw)
    const errors = parsed.success
      ? intake.check(parsed.data).map(({ path, message }) => ({ path: pathOf(path), message }))
      : fieldErrorsOf(parsed.error)
    const url = parsed.data?.post_back_url
    if (url !== undefined) errors.push(...(await postBacks(url)))
    if (errors.length === 0 && parsed.success) return { request: parsed.data }
    return { request: undefined, error: refuse(errors).toJSON(), raw: parsed.success ? parsed.data : raw }
  }

  async function createIds(judged: Judged[]): Promise<string[]> {
    const counts = new Map<string, number>()
    for (const { request } of judged)
      if (request) counts.set(request.account, (counts.get(request.account) ?? 0) + 1)
    const ids = new Map<string, MessageId[]>()
    for (const [account, count] of counts) ids.set(account, await ledger.createIds(account, count))
    return judged.map(({ request }) => (request ? ids.get(request.account)!.shift()!.text : NO_ID))
  }

  async function accept(one: Judged, text: string, repeats: boolean): Promise<Result> {
    const id = parseMessageId(text)
    // A repeat may find unfit by now what was taken then, for example because it expired; it stays as it was.
    const request = one.request ?? (id && messageRequestSchema.safeParse(one.raw).data)
    if (!request) return { error: one.request ? refuse([]).toJSON() : one.error }
    if (!id)
      return {
        error: refuse([{ path: '', message: 'was refused when this Idempotency-Key was new' }]).toJSON(),
      }
    try {
      const { state } = await intake.accept(id, request)
      if (!repeats) metrics.accepted(request.account)
      return { id: text, state: acceptedAs(state, repeats) }
    } catch (error) {
      return { error: asProblem(error).toJSON() }
    }
  }

  app.post(
    '/v1/messages/batch',
    {
      config: { scope: 'send' },
      bodyLimit: BATCH_BYTES,
      schema: {
        ...bearer,
        tags: ['messages'],
        summary: 'Enqueue up to 1,000 messages',
        description:
          'Each message is judged by itself: `results` has, in order, what was accepted and a problem for what was not. ' +
          'Takes an `Idempotency-Key` header, which also makes repeating after a 503 harmless.',
        body: batchSchema,
        response: { 202: z.object({ results: z.array(resultSchema) }), ...refusals(400, 413, 415, 422) },
      },
    },
    async (request, reply) => {
      storage.mustBeOpen()
      const key = keyOf(request)
      const judged = await Promise.all(request.body.messages.map(judge))
      const answer = await once<Answer>(request, reply, key, {
        idempotency,
        route: 'POST /v1/messages/batch',
        body: judged.map((one) => one.request ?? one.raw),
        createIds: () => createIds(judged),
        async answer(ids, repeats) {
          const results = await Promise.all(
            judged.map((one, index) => accept(one, ids[index] ?? NO_ID, repeats)),
          )
          const failed = results.filter((result) => 'error' in result && result.error.status >= SERVER_FAULT)
          if (failed.length === results.length) throw storeAway()
          return { results }
        },
        final: ({ results }) =>
          results.every((result) => !('error' in result) || result.error.status < SERVER_FAULT),
      })
      return reply.code(202).send(answer)
    },
  )
}
