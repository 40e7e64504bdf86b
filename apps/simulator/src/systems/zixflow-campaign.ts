/**
 * Zixflow's older campaign API, from "Interactive Reply Buttons" of its campaign documents.
 *
 * Readings of the document:
 * - media headers carry a plain URL string, and exactly the one that `type` names.
 * - it prints `object` as the type of a button's title; WhatsApp has a string there, and so has this.
 * - it prints no answer, only its fields: `status` and `message`. Statuses and words here are ours.
 * - the answer tells no request id; one is made all the same, for the records.
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
import {
  actionObject,
  bodyObject,
  digitsOnly,
  firstProblem,
  footerObject,
  limitedText,
  webAddress,
} from './whatsapp.ts'

const headerObject = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text'), text: limitedText(60) }),
  z.strictObject({ type: z.literal('image'), image: webAddress }),
  z.strictObject({ type: z.literal('video'), video: webAddress }),
  z.strictObject({ type: z.literal('document'), document: webAddress }),
])

const request = z.strictObject({
  to: digitsOnly,
  phoneId: z.string().min(1, 'is required'),
  type: z.literal('interactive'),
  interactive: z.strictObject({
    type: z.literal('button'),
    header: headerObject.optional(),
    body: bodyObject,
    footer: footerObject.optional(),
    action: actionObject,
  }),
  source: z.string().optional(),
  linkWithRecord: z.boolean().optional(),
  submissionStatus: z.boolean().optional(),
})

const endpoint: Endpoint = {
  path: '/api/v1/campaign/whatsapp/message/send',
  check(body) {
    const parsed = request.safeParse(body)
    if (!parsed.success) return firstProblem(parsed.error, body)
    const { to, interactive } = parsed.data
    return { type: 'interactive', recipient: to, content: interactive, reference: null }
  },
}

const failure = (status: number, code: string, message: string): Answer => ({
  status,
  code,
  body: JSON.stringify({ status: false, message }),
})

const errors = {
  failure: (text = 'Message could not be sent', status = 400) => failure(status, 'failure', text),
  '401': () => failure(401, '401', 'Unauthorized'),
  'unknown-phone-id': () => failure(400, 'unknown-phone-id', 'Phone ID not found'),
  'low-balance': () => failure(400, 'low-balance', 'Insufficient balance'),
  '429': () => failure(429, '429', 'Too many requests'),
  '500': () => failure(500, '500', 'Internal server error'),
} satisfies Record<string, NamedError>

export const zixflowCampaign: System = {
  provider: 'zixflow-campaign',
  endpoints: [endpoint],
  accountFromHead: () => undefined,
  accountFromBody: (body) => stringField(body, 'phoneId'),
  peek: (body) => peekAt(body, 'to'),
  credentials({ headers }) {
    const token = /^Bearer (\S+)$/.exec(soleHeader(headers, 'authorization') ?? '')?.[1]
    return token !== undefined ? { token } : undefined
  },
  refuseCredentials: (check) => (check === 'wrong' ? errors['401']() : errors['unknown-phone-id']()),
  refuseAccount: () => undefined,
  refuseBody: (problem) => failure(400, 'payload', problem),
  refuseMethod: () => ({ ...failure(405, '405', 'Method not allowed'), headers: { allow: 'POST' } }),
  tooManyRequests: errors['429'],
  lowBalance: errors['low-balance'],
  errors,
  newRequestId: newUuid,
  tellsRequestId: false,
  success: () => ({
    status: 200,
    code: '200',
    body: '{"status":true,"message":"Message sent successfully"}',
  }),
  oddSuccess: {
    'missing-commas': () => '{\n"status": true\n"message": "Message sent successfully"\n}',
    'array-data': () => '{"status":[],"message":[],"data":[]}',
    'huge-numbers': () => '{"status":604132581490819123456789,"message":604132581490819123456789}',
  },
}
