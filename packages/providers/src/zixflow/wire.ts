/**
 * Zixflow's request and answer, as in "Send WhatsApp Reaction Message" and
 * "Send WhatsApp Interactive Reply Buttons Message" of its ingest API.
 */
import { z } from 'zod'
import { address, bodyText, headerText } from '../account-fields.ts'
import type { Content } from '../content.ts'
import { outcomeByStatus } from '../fall-through.ts'
import { looseId, looseText } from '../json.ts'
import type { Answer, WireRequest } from '../json-provider.ts'
import { outcomeOf } from '../outcomes.ts'
import type { OutboundMessage, SendContext, SendOutcome } from '../provider.ts'
import { receiptAddress } from '../receipt-address.ts'
import { rowOf } from './outcomes.ts'

export const accountSchema = z.strictObject({
  apiKey: headerText,
  workspaceId: headerText,
  /** Of the sending number: "Zixflow WhatsApp Settings page". */
  phoneId: bodyText,
})

export type ZixflowAccount = z.infer<typeof accountSchema>

/** Below `/api/ingest/whatsapp/v1/message`: one address a kind of message. */
const pathOf = {
  reaction: ['reaction', 'send'],
  interactive: ['interactive', 'reply-buttons', 'send'],
} satisfies Record<Content['type'], string[]>

export function request(
  { id, to, content }: OutboundMessage,
  account: SendContext<ZixflowAccount>['account'],
): WireRequest {
  const { baseUrl, apiKey, workspaceId, phoneId } = account
  const postBackUrl = receiptAddress(account)
  const path = ['api', 'ingest', 'whatsapp', 'v1', 'message', ...pathOf[content.type]]
  return {
    url: address(baseUrl, ...path),
    headers: { 'x-api-key': apiKey, 'x-workspace-id': workspaceId },
    json: {
      recipient: to,
      phone_id: phoneId,
      ...(content.type === 'reaction'
        ? { reaction: content.reaction }
        : { interactive: content.interactive }),
      // Without a URL no document says that the data comes back, so both or neither.
      ...(postBackUrl && { post_back_url: postBackUrl, post_back_data: id }),
    },
  }
}

const flag = z.boolean().nullish().catch(undefined)

/** Older pages answer with `status` where newer ones have `success`, and without `request_id`. */
const replySchema = z.object({ success: flag, status: flag, message: looseText, request_id: looseId })

export function read({ status, body, retryAfterMs }: Answer): SendOutcome | undefined {
  const parsed = replySchema.safeParse(body)
  if (!parsed.success) return undefined
  const { success, status: olderFlag, message, request_id: requestId } = parsed.data
  const code = `HTTP_${status}`
  const row = rowOf(success ?? olderFlag, status)
  if (row) return outcomeOf(row, { code, message, retryAfterMs, requestId, status })
  return outcomeByStatus({ status, message, retryAfterMs })
}
