/**
 * Zixflow ingest, from "Send WhatsApp Reaction Message" and "Send WhatsApp Interactive Reply Buttons Message".
 *
 * Readings of the documents:
 * - they print no failure, only its fields: `success: false` and `message`. Statuses and words here are ours.
 * - the inside of `interactive` is not spelled out; it is taken as Meta has it.
 */
import { z } from 'zod'
import { newUuid } from './request-ids.ts'
import {
  type Answer,
  type Endpoint,
  type NamedError,
  peekAt,
  type System,
  soleHeader,
  stringField,
} from './system.ts'
import { digitsOnly, firstProblem, interactiveObject, reactionObject, webAddress } from './whatsapp.ts'

const envelope = {
  recipient: digitsOnly,
  phone_id: z.string().min(1, 'is required'),
  post_back_url: webAddress.optional(),
  post_back_data: z.string().optional(),
}

const reactionRequest = z.strictObject({ ...envelope, reaction: reactionObject })
const replyButtonsRequest = z.strictObject({ ...envelope, interactive: interactiveObject })

const reaction: Endpoint = {
  path: '/api/ingest/whatsapp/v1/message/reaction/send',
  check(body) {
    const parsed = reactionRequest.safeParse(body)
    if (!parsed.success) return firstProblem(parsed.error, body)
    const { recipient, post_back_data, reaction } = parsed.data
    return { type: 'reaction', recipient, content: reaction, reference: post_back_data ?? null }
  },
}

const replyButtons: Endpoint = {
  path: '/api/ingest/whatsapp/v1/message/interactive/reply-buttons/send',
  check(body) {
    const parsed = replyButtonsRequest.safeParse(body)
    if (!parsed.success) return firstProblem(parsed.error, body)
    const { recipient, post_back_data, interactive } = parsed.data
    return { type: 'interactive', recipient, content: interactive, reference: post_back_data ?? null }
  },
}

const failure = (status: number, code: string, message: string): Answer => ({
  status,
  code,
  body: JSON.stringify({ success: false, message }),
})

const errors = {
  failure: (text = 'WhatsApp request could not be queued', status = 400) => failure(status, 'failure', text),
  '401': () => failure(401, '401', 'Invalid API key or workspace ID'),
  'unknown-phone-id': () => failure(400, 'unknown-phone-id', 'Phone ID not found'),
  'low-balance': () => failure(400, 'low-balance', 'Insufficient balance'),
  '429': () => failure(429, '429', 'Too many requests'),
  '500': () => failure(500, '500', 'Internal server error'),
} satisfies Record<string, NamedError>

export const zixflow: System = {
  provider: 'zixflow',
  endpoints: [reaction, replyButtons],
  accountFromHead: () => undefined,
  accountFromBody: (body) => stringField(body, 'phone_id'),
  peek: (body) => peekAt(body, 'recipient', 'post_back_data'),
  credentials({ headers }) {
    const apiKey = soleHeader(headers, 'x-api-key')
    const workspaceId = soleHeader(headers, 'x-workspace-id')
    return apiKey !== undefined && workspaceId !== undefined ? { apiKey, workspaceId } : undefined
  },
  refuseCredentials: (check) => (check === 'wrong' ? errors['401']() : errors['unknown-phone-id']()),
  refuseAccount: () => undefined,
  refuseBody: (problem) => failure(400, 'payload', problem),
  refuseMethod: () => ({ ...failure(405, '405', 'Method not allowed'), headers: { allow: 'POST' } }),
  tooManyRequests: errors['429'],
  lowBalance: errors['low-balance'],
  errors,
  newRequestId: newUuid,
  tellsRequestId: true,
  success: (requestId) => ({
    status: 200,
    code: '200',
    body: `{"success":true,"message":"WhatsApp request queued successfully","request_id":"${requestId}"}`,
  }),
  oddSuccess: {
    'missing-commas': (requestId) =>
      `{\n"success": true\n"message": "WhatsApp request queued successfully"\n"request_id": "${requestId}"\n}`,
    'array-data': () =>
      '{"success":true,"message":"WhatsApp request queued successfully","request_id":[],"data":[]}',
    'huge-numbers': () =>
      '{"success":true,"message":"WhatsApp request queued successfully","request_id":604132581490819123456789}',
  },
}
