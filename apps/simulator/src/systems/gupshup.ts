/**
 * Gupshup Partner v3, from "Send a reaction message" of its partner documents; reply buttons go to the same
 * path with Meta's `interactive` object, as the neighbouring pages show.
 *
 * Readings of the document:
 * - the token stands bare in `Authorization`: one that begins with a scheme is not a token.
 * - `to` is digits only, as in its examples.
 * - receipts are those of "Passthrough (V3) Incoming events", one entry and one change with all statuses in it.
 * - what it says to a body that does not fit, to an empty wallet and to too many requests is not printed on this
 *   page: the shape is, so the words here are ours ("Wallet Balance Low" is its list of codes' name for 1003).
 */
import { z } from 'zod'
import type { Told } from '../receipts/log.ts'
import { newUuid } from './request-ids.ts'
import { type Answer, type Endpoint, type NamedError, peekAt, type System, soleHeader } from './system.ts'
import { digitsOnly, errorsOf, firstProblem, interactiveObject, reactionObject } from './whatsapp.ts'

const envelope = {
  messaging_product: z.literal('whatsapp'),
  recipient_type: z.literal('individual'),
  to: digitsOnly,
}

const request = z.discriminatedUnion('type', [
  z.strictObject({ ...envelope, type: z.literal('reaction'), reaction: reactionObject }),
  z.strictObject({ ...envelope, type: z.literal('interactive'), interactive: interactiveObject }),
])

const endpoint: Endpoint = {
  path: '/partner/app/:appId/v3/message',
  check(body) {
    const parsed = request.safeParse(body)
    if (!parsed.success) return firstProblem(parsed.error, body)
    const message = parsed.data
    return {
      type: message.type,
      recipient: message.to,
      content: message.type === 'reaction' ? message.reaction : message.interactive,
      reference: null,
    }
  },
}

const failure = (status: number, code: string, message: string): Answer => ({
  status,
  code,
  body: JSON.stringify({ status: 'error', message }),
})
/** The two 400s of the document have their fields the other way round. */
const documented400 = (code: string, message: string): Answer => ({
  status: 400,
  code,
  body: JSON.stringify({ message, status: 'error' }),
})

const authentication = failure(401, '401', 'Authentication Failed')
const callbackBilling = documented400('callback-billing', 'Callback Billing must be enabled for this API')
const invalidApp = documented400('invalid-app', 'Invalid App Details')
const tooMany = failure(429, '429', 'Too Many Requests')
const server = failure(500, '500', 'Internal Server Error')
const wallet = documented400('low-balance', 'Wallet Balance Low')
const wrongMethod: Answer = { ...failure(405, '405', 'Method Not Allowed'), headers: { allow: 'POST' } }

const errors = {
  '401': () => authentication,
  'callback-billing': () => callbackBilling,
  'invalid-app': () => invalidApp,
  '429': () => tooMany,
  '500': () => server,
  'low-balance': () => wallet,
} satisfies Record<string, NamedError>

function passthrough(told: readonly Told[]): string {
  const statuses = told.map((one) => ({
    gs_id: one.requestId,
    id: one.wamid,
    recipient_id: one.recipient,
    status: one.status,
    // Of `enqueued` alone it is a number, and of milliseconds.
    timestamp: one.status === 'enqueued' ? one.atMs : String(Math.floor(one.atMs / 1000)),
    ...errorsOf(one),
  }))
  return JSON.stringify({
    gs_app_id: '82ed52f4-30c0-4f12-81b4-e7ad07bd41de',
    object: 'whatsapp_business_account',
    entry: [
      {
        id: '112535025189792',
        changes: [{ field: 'messages', value: { messaging_product: 'whatsapp', statuses } }],
      },
    ],
  })
}

export const gupshup: System = {
  provider: 'gupshup',
  endpoints: [endpoint],
  accountFromHead: ({ parameters }) => parameters.appId,
  accountFromBody: () => undefined,
  peek: (body) => peekAt(body, 'to'),
  credentials({ headers }) {
    const token = soleHeader(headers, 'authorization')
    return token !== undefined && /^\S+$/.test(token) ? { token } : undefined
  },
  refuseCredentials: (check) => (check === 'unknown-account' ? invalidApp : authentication),
  refuseAccount: (name) => (/^[\w-]+$/.test(name) ? undefined : invalidApp),
  refuseBody: (problem) => documented400('payload', `Invalid request: ${problem}`),
  refuseMethod: () => wrongMethod,
  tooManyRequests: errors['429'],
  lowBalance: errors['low-balance'],
  errors,
  newRequestId: newUuid,
  tellsRequestId: true,
  success: (requestId, { recipient }) => ({
    status: 200,
    code: '200',
    body: `{"messages":[{"id":"${requestId}"}],"messaging_product":"whatsapp","contacts":[{"input":"${recipient}","wa_id":"${recipient}"}]}`,
  }),
  receipts: { bundles: 'any', body: passthrough },
  oddSuccess: {
    'missing-commas': (requestId) =>
      `{\n"messages": [\n{\n"id": "${requestId}"\n}\n]\n"messaging_product": "whatsapp"\n"contacts": []\n}`,
    'array-data': () => '{"messages":[],"messaging_product":"whatsapp","contacts":[]}',
    'huge-numbers': () =>
      '{"messages":[{"id":604132581490819123456789}],"messaging_product":"whatsapp","contacts":[]}',
  },
}
