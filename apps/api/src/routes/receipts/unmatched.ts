/** `GET /v1/receipts?unmatched=true`: receipts that name no message of ours, or none yet. */
import type { UnmatchedReceipt } from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { cursorSchema, limitSchema, pageByAccount } from '../paging.ts'
import type { ReceiptRouteOptions } from './index.ts'

const querySchema = z.strictObject({
  unmatched: z
    .literal('true')
    .meta({ description: 'Those that matched a message are told with the message' }),
  account: z.string().min(1).max(64).optional().meta({ description: 'Only those of this account' }),
  limit: limitSchema,
  cursor: cursorSchema.optional().meta({ description: '`next` of the page before' }),
})

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
  const { ledger } = storage

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
      // The receipts of one request id lie together and are counted as one.
      return pageByAccount(storage, request.query, async (account, offset, count) => {
        const receipts = count > 0 ? await ledger.unmatchedReceipts(account, count, offset) : []
        const more = offset + count < (await ledger.unmatchedCount(account))
        return { items: receipts.map((receipt) => viewOf(account, receipt)), more }
      })
    },
  )
}
