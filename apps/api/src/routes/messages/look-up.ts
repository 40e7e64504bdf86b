/** Reading messages: by id, by the provider's request id, by the caller's reference, of a campaign. */
import {
  campaignRow,
  type MessageId,
  type MessageView,
  messageViewSchema,
  parseMessageId,
  STATES,
  viewOf,
  viewOfRow,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { noSuchMessage } from '../../problems.ts'
import type { Storage } from '../../storage.ts'
import { refuse } from '../../validation.ts'
import { cursorSchema, limitSchema, refuseCursor, writeCursor } from '../paging.ts'
import { readPage } from './campaign-messages.ts'
import type { MessageRouteOptions } from './index.ts'

export const idParams = z.strictObject({ id: z.string().meta({ examples: ['msg_0001000000000a5f3c9d21'] }) })

const querySchema = z.strictObject({
  request_id: z.string().min(1).max(512).optional().meta({ description: "The provider's id of the message" }),
  reference: z.string().min(1).max(255).optional().meta({ description: "The caller's own name for it" }),
  campaign: z.string().min(1).max(64).optional().meta({ description: 'The id of a campaign' }),
  state: z
    .enum(STATES)
    .optional()
    .meta({ description: 'With `campaign`: only those that are in this state now' }),
  limit: limitSchema,
  cursor: cursorSchema.optional().meta({ description: '`next` of the page before' }),
})

export function lookUpRoutes(app: App, { storage }: MessageRouteOptions): void {
  app.get(
    '/v1/messages/:id',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['messages'],
        summary: 'A message, its state and its attempts',
        description: 'Also a row of a campaign that is no message yet.',
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
        summary: 'Messages by request id, by reference, or of a campaign',
        description: [
          'Exactly one of `request_id`, `reference` and `campaign`. A campaign’s messages come in the order of its rows,',
          'those that are no messages yet included; a page may hold fewer than `limit`, or none, and still have a `next`.',
        ].join(' '),
        querystring: querySchema,
        response: {
          200: z.object({ items: z.array(messageViewSchema), next: z.string().nullable() }),
          ...refusals(400, 404),
        },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const { request_id: requestId, reference, campaign, state, limit, cursor } = request.query
      if ([requestId, reference, campaign].filter((name) => name !== undefined).length !== 1) {
        throw refuse([{ path: '', message: 'exactly one of request_id, reference and campaign is needed' }])
      }
      if (state !== undefined && campaign === undefined) {
        throw refuse([{ path: 'state', message: 'goes with campaign only' }])
      }
      if (campaign !== undefined) {
        const from = cursor === undefined ? 0 : 'row' in cursor ? cursor.row : refuseCursor()
        const { items, next } = await readPage(storage, campaign, state, limit, from)
        return { items, next: next === undefined ? null : writeCursor({ row: next }) }
      }
      if (requestId !== undefined) {
        const id = await storage.ledger.findByRequestId(requestId)
        return { items: await views(storage, id ? [id] : []), next: null }
      }
      const after = cursor && 'row' in cursor ? refuseCursor() : cursor
      const { ids, next } = await storage.ledger.findByReference(reference!, limit, after)
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
  return view ?? readRow(storage, id)
}

/** @throws {Problem} 404 for an id that no row of a campaign has */
export async function readRow({ campaigns, ledger }: Storage, id: MessageId): Promise<MessageView> {
  const found = await campaignRow(campaigns, ledger, id)
  if (!found) throw noSuchMessage()
  return viewOfRow(found.campaign, found.row)
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
