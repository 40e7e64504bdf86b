/** `POST /v1/messages`: one message. */
import {
  fingerprintOf,
  type MessageId,
  type MessageRequest,
  messageRequestSchema,
  parseMessageId,
  STATES,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { pathOf, refuse } from '../../validation.ts'
import { acceptedAs, keyOf, once } from './idempotency-key.ts'
import type { MessageRouteOptions } from './index.ts'

export const acceptedSchema = z.object({
  id: z.string().meta({ examples: ['msg_0001000000000a5f3c9d21'] }),
  state: z.enum(STATES),
})
export type Accepted = z.infer<typeof acceptedSchema>

const ROUTE = 'POST /v1/messages'

export function acceptRoute(app: App, { storage, metrics, postBacks }: MessageRouteOptions): void {
  const { intake, ledger, idempotency } = storage

  app.post(
    '/v1/messages',
    {
      config: { scope: 'send' },
      schema: {
        ...bearer,
        tags: ['messages'],
        summary: 'Enqueue one message',
        description: 'Takes an `Idempotency-Key` header: the same key and body give the same answer again.',
        body: messageRequestSchema,
        response: { 202: acceptedSchema, ...refusals(400, 413, 415, 422) },
      },
    },
    async (request, reply) => {
      storage.mustBeOpen()
      const message = request.body
      const key = keyOf(request)
      const errors = intake.check(message).map(({ path, message }) => ({ path: pathOf(path), message }))
      if (message.post_back_url !== undefined) errors.push(...(await postBacks(message.post_back_url)))
      if (errors.length && !(key !== undefined && (await wasTaken(request.caller!.name, key, message)))) {
        throw refuse(errors)
      }
      if (key === undefined) {
        const id = ledger.nextId(message.account) ?? (await ledger.createIds(message.account, 1))[0]!
        return reply.code(202).send(await accept(id, message, false))
      }
      const answer = await once<Accepted>(request, reply, key, {
        idempotency,
        route: ROUTE,
        body: message,
        createIds: async () => (await ledger.createIds(message.account, 1)).map(({ text }) => text),
        answer: ([id], repeats) => accept(parseMessageId(id!)!, message, repeats),
        final: () => true,
      })
      return reply.code(202).send(answer)
    },
  )

  async function accept(id: MessageId, message: MessageRequest, repeats: boolean): Promise<Accepted> {
    const { state } = await intake.accept(id, message)
    if (!repeats) metrics.accepted(message.account)
    return { id: id.text, state: acceptedAs(state, repeats) }
  }

  /** What was fit when it was taken may be past its `expires_at` when it is repeated. */
  async function wasTaken(owner: string, key: string, message: unknown): Promise<boolean> {
    return (await idempotency.find(owner, key, fingerprintOf(ROUTE, message)))?.kind === 'repeat'
  }
}
