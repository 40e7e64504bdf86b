/** Reading messages: by id, by the provider's request id, by the caller's reference. */
import {
  type MessageId,
  type MessageView,
  messageViewSchema,
  parseMessageId,
  viewOf,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { noSuchMessage } from '../../problems.ts'
import type { Storage } from '../../storage.ts'
import { refuse } from '../../validation.ts'
import { cursorSchema, writeCursor } from './cursor.ts'
import type { MessageRouteOptions } from './index.ts'

export const idParams = z.strictObject({ id: z.string().meta({ examples: ['msg_0001000000000a5f3c9d21'] }) })

const querySchema = z.strictObject({
  request_id: z.string().min(1).max(512).optional().meta({ description: "The provider's id of the message" }),
  reference: z.string().min(1).max(255).optional().meta({ description: "The caller's own name for it" }),
  limit: z
    .string()
    .regex(/^\d{1,3}$/, 'a number from 1 to 500')
    .transform(Number)
    .refine((value) => value >= 1 && value <= 500, 'a number from 1 to 500')
    .optional()
    .meta({ description: '1 to 500; 100 when absent' }),
  cursor: cursorSchema.optional().meta({ description: '`next` of the page before' }),
})

const DEFAULT_LIMIT = 100

export function lookUpRoutes(app: App, { storage }: MessageRouteOptions): void {
  app.get(
    '/v1/messages/:id',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['messages'],
        summary: 'A message, its state and its attempts',
        params: idParams,
        querystring: z.strictObject({}),
        response: { 200: messageViewSchema, ...refusals(400, 404) },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      return readMessage(storage, knownId(storage, request.params.id))
    },
  )

  app.get(
    '/v1/messages',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['messages'],
        summary: 'Messages by request id or by reference',
        description: 'Exactly one of `request_id` and `reference`.',
        querystring: querySchema,
        response: {
          200: z.object({ items: z.array(messageViewSchema), next: z.string().nullable() }),
          ...refusals(400),
        },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const { request_id: requestId, reference, limit = DEFAULT_LIMIT, cursor } = request.query
      if (requestId !== undefined && reference === undefined) {
        const id = await storage.ledger.findByRequestId(requestId)
        return { items: await views(storage, id ? [id] : []), next: null }
      }
      if (reference === undefined || requestId !== undefined) {
        throw refuse([{ path: '', message: 'exactly one of request_id and reference is needed' }])
      }
      const { ids, next } = await storage.ledger.findByReference(reference, limit, cursor)
      const found = await views(storage, ids)
      return {
        items: found.filter((message) => message.reference === reference),
        next: next ? writeCursor(next) : null,
      }
    },
  )
}

/** @throws {Problem} 404 for what is no id, or an id of an account that is not configured */
export function knownId({ ledger }: Storage, text: string): MessageId {
  const id = parseMessageId(text)
  if (!id || ledger.accountOf(id) === undefined) throw noSuchMessage()
  return id
}

/** @throws {Problem} 404 */
export async function readMessage(storage: Storage, id: MessageId): Promise<MessageView> {
  const [view] = await views(storage, [id])
  if (!view) throw noSuchMessage()
  return view
}

/** Those of the ids that the ledger still holds, in order. */
async function views({ ledger }: Storage, ids: MessageId[]): Promise<MessageView[]> {
  const records = await Promise.all(ids.map((id) => ledger.read(id)))
  return ids.flatMap((id, index) => {
    const record = records[index]
    const account = ledger.accountOf(id)
    return record && account !== undefined ? [viewOf(id, account, record)] : []
  })
}
