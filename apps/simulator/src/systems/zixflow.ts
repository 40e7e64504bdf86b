/**
 * Zixflow ingest, from "Send WhatsApp Reaction Message" and "Send WhatsApp Interactive Reply Buttons Message".
 *
 * Readings of the documents:
 * - they print no failure, only its fields: `success: false` and `message`. Statuses and words here are ours.
 * - receipts are those of "Postback Notifications", which names no `sent` and has no field for a code: it is put into
 *   the remark's words.
 * - the inside of `interactive` is not spelled out; it is taken as Meta has it.
 */
import { z } from 'zod'
import type { Told } from '../receipts/log.ts'
import { newLongNumber, newUuid } from './request-ids.ts'
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

function common({ recipient, post_back_url, post_back_data }: z.infer<z.ZodObject<typeof envelope>>) {
  return { recipient, reference: post_back_data ?? null, receiptUrl: post_back_url }
}

const reaction: Endpoint = {
  path: '/api/ingest/whatsapp/v1/message/reaction/send',
  check(body) {
    const parsed = reactionRequest.safeParse(body)
    if (!parsed.success) return firstProblem(parsed.error, body)
    const { reaction, ...rest } = parsed.data
    return { type: 'reaction', content: reaction, ...common(rest) }
  },
}

const replyButtons: Endpoint = {
  path: '/api/ingest/whatsapp/v1/message/interactive/reply-buttons/send',
  check(body) {
    const parsed = replyButtonsRequest.safeParse(body)
    if (!parsed.success) return firstProblem(parsed.error, body)
    const { interactive, ...rest } = parsed.data
    return { type: 'interactive', content: interactive, ...common(rest) }
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

const remarkOf = ({ code, message = '' }: Told): string =>
  code === undefined ? message : `${code}${message && ': '}${message}`

/** The number is written by hand: no double could carry it. */
function postBack(told: Told): string {
  const { requestId, recipient, status, reference, atMs } = told
  return `{"workspace_id":"69614209f51dfafb2231a6fe","type":"delivery_status","message_id":${newLongNumber()},${JSON.stringify(
    {
      request_id: requestId,
      channel: 'whatsapp',
      recipient,
      status,
      remark: remarkOf(told),
      // Nanoseconds, as on the page.
      status_at: new Date(atMs).toISOString().replace('Z', '174911Z'),
      post_back_data: reference ?? '',
    },
  ).slice(1)}`
}

/** The answer of "Get Message Delivery Report"; without a status, which the page does not show, words of ours. */
export function deliveryReport(told: Told | undefined): Answer {
  if (told === undefined) return failure(404, 'report:404', 'Delivery report not found')
  const { requestId, recipient, status, wamid, atMs } = told
  return {
    status: 200,
    code: 'report:200',
    body: JSON.stringify({
      success: true,
      message: 'Delivery report retrieved successfully',
      data: {
        channel: 'whatsapp',
        message_id: wamid,
        recipient,
        request_id: requestId,
        status,
        statusAt: new Date(atMs).toISOString(),
        remark: remarkOf(told),
        workspace_id: '69614209f51dfafb2231a6fe',
      },
    }),
  }
}

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
  receipts: {
    bundles: 'never',
    body: ([told]) => postBack(told!),
  },
  oddSuccess: {
    'missing-commas': (requestId) =>
      `{\n"success": true\n"message": "WhatsApp request queued successfully"\n"request_id": "${requestId}"\n}`,
    'array-data': () =>
      '{"success":true,"message":"WhatsApp request queued successfully","request_id":[],"data":[]}',
    'huge-numbers': () =>
      '{"success":true,"message":"WhatsApp request queued successfully","request_id":604132581490819123456789}',
  },
}
