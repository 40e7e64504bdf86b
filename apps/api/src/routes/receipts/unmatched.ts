/** `GET /v1/receipts?unmatched=true`: receipts that name no message of ours, or none yet. */
import type { UnmatchedReceipt } from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import type { Storage } from '../../storage.ts'
import { refuse } from '../../validation.ts'
import { cursorSchema, writeCursor } from '../messages/cursor.ts'
import type { ReceiptRouteOptions } from './index.ts'

const querySchema = z.strictObject({
  unmatched: z
    .literal('true')
    .meta({ description: 'Those that matched a message are told with the message' }),
  account: z.string().min(1).max(64).optional().meta({ description: 'Only those of this account' }),
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

const viewSchema = z.object({
  account: z.string(),
  at: z.iso.datetime().meta({ description: 'When it happened, by the provider' }),
  received_at: z.iso.datetime(),
  status: z.string().meta({
    description: "The provider's own word; `unreadable` for a body that nobody can make sense of",
    examples: ['delivered'],
  }),
  request_id: z.string().optional(),
  wamid: z.string().optional(),
  message_id: z.string().optional().meta({ description: 'Our own id, as the provider echoed it' }),
  to: z.string().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
})
type UnmatchedView = z.infer<typeof viewSchema>

const instant = (milliseconds: number) => new Date(milliseconds).toISOString()

const viewOf = (account: string, receipt: UnmatchedReceipt): UnmatchedView => ({
  account,
  at: instant(receipt.at),
  received_at: instant(receipt.receivedAt),
  status: receipt.status,
  request_id: receipt.requestId,
  wamid: receipt.wamid,
  message_id: receipt.messageId,
  to: receipt.recipient,
  error: receipt.error,
})

export function unmatchedRoute(app: App, { storage }: ReceiptRouteOptions): void {
  app.get(
    '/v1/receipts',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['receipts'],
        summary: 'Receipts that match no message',
        description:
          'Oldest first, account by account. One that came before its message was answered leaves the list when it ' +
          'is; the others stay for `RETENTION_DAYS`. A page may hold a few more or fewer than `limit`.',
        querystring: querySchema,
        response: {
          200: z.object({ items: z.array(viewSchema), next: z.string().nullable() }),
          ...refusals(400, 404),
        },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const { account, limit = DEFAULT_LIMIT, cursor } = request.query
      if (cursor && 'row' in cursor) throw refuse([{ path: 'cursor', message: 'is of another list' }])
      if (account !== undefined && !storage.accounts.has(account))
        throw refuse([{ path: 'account', message: 'there is no account with this id' }])
      const { items, next } = await readPage(storage, account, limit, cursor)
      return { items, next: next ? writeCursor(next) : null }
    },
  )
}

interface Place {
  account: number
  offset: number
}

/** The receipts of one request id lie together and are counted as one. */
async function readPage(
  { ledger, accounts }: Storage,
  only: string | undefined,
  limit: number,
  from: Place = { account: 0, offset: 0 },
): Promise<{ items: UnmatchedView[]; next: Place | undefined }> {
  const items: UnmatchedView[] = []
  const asked = [...(only === undefined ? accounts.keys() : [only])]
    .map((id) => ({ id, number: ledger.numberOf(id) }))
    .filter(({ number }) => number >= from.account)
    .sort((a, b) => a.number - b.number)
  for (const { id, number } of asked) {
    if (items.length >= limit) return { items, next: { account: number, offset: 0 } }
    const offset = number === from.account ? from.offset : 0
    const end = offset + limit - items.length
    const receipts = await ledger.unmatchedReceipts(id, end - offset, offset)
    items.push(...receipts.map((receipt) => viewOf(id, receipt)))
    if (end < (await ledger.unmatchedCount(id))) return { items, next: { account: number, offset: end } }
  }
  return { items, next: undefined }
}
