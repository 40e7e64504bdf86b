/**
 * Kaleyra v2, from "Send Reaction Messages". The answers are printed as there, commas added.
 *
 * Readings of the document:
 * - `<phone_number>` in the path is the sender's: `WA401` speaks of a number of the account.
 * - `messaging_object` is "the message object as defined by Meta", so reply buttons are in it as Meta has them.
 * - the table says `WhatsApp` for `messaging_product`, the sample `whatsapp`: both are taken.
 * - receipts are those of "Status Update Webhooks" (v2). The failed one is taken to have WhatsApp's `errors`.
 * - `to` may hold several numbers separated by commas, each with or without a plus sign.
 */
import { z } from 'zod'
import type { Told } from '../receipts/log.ts'
import { newKaleyraId } from './request-ids.ts'
import {
  type Answer,
  type Endpoint,
  type NamedError,
  peekAt,
  type System,
  soleHeader,
  stringField,
} from './system.ts'
import { errorsOf, firstProblem, interactiveObject, reactionObject } from './whatsapp.ts'

const envelope = {
  messaging_product: z.enum(['whatsapp', 'WhatsApp']),
  recipient_type: z.literal('individual').optional(),
  to: z.string().regex(/^\+?[1-9]\d{6,14}(?:,\+?[1-9]\d{6,14})*$/, 'must be a valid phone number'),
}

const request = z.strictObject({
  messaging_object: z.discriminatedUnion('type', [
    z.strictObject({ ...envelope, type: z.literal('reaction'), reaction: reactionObject }),
    z.strictObject({ ...envelope, type: z.literal('interactive'), interactive: interactiveObject }),
  ]),
  extra_info: z
    .strictObject({
      ref: z.string().optional(),
      ref1: z.string().optional(),
      ref2: z.string().optional(),
      // Any other value than the listed ones is overridden, not refused.
      wa_source: z.string().optional(),
    })
    .optional(),
})

const endpoint: Endpoint = {
  path: '/v2/:sid/whatsapp/:phoneNumber/messages',
  check(body) {
    const parsed = request.safeParse(body)
    if (!parsed.success) return firstProblem(parsed.error, body)
    const { messaging_object: message, extra_info: extra } = parsed.data
    return {
      type: message.type,
      recipient: message.to.replaceAll('+', ''),
      content: message.type === 'reaction' ? message.reaction : message.interactive,
      // "if the length of the string exceeds 255 characters, it will be truncated"
      reference: extra?.ref?.slice(0, 255) ?? null,
    }
  },
}

const failure = (status: number, code: string, message: string, field: string, text: string): Answer => ({
  status,
  code,
  body: JSON.stringify({ code, message, data: {}, error: { [field]: text } }),
})

const sidOrKey: Answer = {
  status: 401,
  code: 'RBC001',
  // `data` is an array in this one answer of the document, and an object in all others.
  body: JSON.stringify({
    code: 'RBC001',
    message: 'Incorrect SID or API key.',
    data: [],
    error: { error: 'Incorrect SID or API key.' },
  }),
}
const notYourNumber = 'Phone number is not present or does not belong to the account.'
const phoneNumber = failure(401, 'WA401', notYourNumber, 'phone_number', notYourNumber)
const payload = failure(
  400,
  'WA400',
  'Refer to correct payload format',
  'payload',
  'Incorrect payload format',
)
const server = failure(500, 'WA500', 'Please try again later', 'error', 'Internal server error')
const lowBalanceText = 'Please check your balance, You have a low balance!'
const balance = failure(400, 'E110', lowBalanceText, 'balance', lowBalanceText)
const accountText = 'API is not available for given customer.Please contact support for more info'
const account = failure(401, 'WA-401', accountText, 'account', accountText)
const versionText =
  "The phone number you're using is associated with different Version of our WA API. Please use the appropriate endpoint."
const version = failure(401, 'WA-401', versionText, 'phone_number', versionText)
// Not in the document.
const tooMany = failure(429, 'WA429', 'Too many requests', 'error', 'Too many requests')
const wrongMethod: Answer = {
  ...failure(405, 'WA405', 'Method not allowed', 'error', 'Method not allowed'),
  headers: { allow: 'POST' },
}

const errors = {
  RBC001: () => sidOrKey,
  WA401: () => phoneNumber,
  WA400: () => payload,
  WA500: () => server,
  E110: () => balance,
  'WA-401:account': () => account,
  'WA-401:phone_number': () => version,
  '429': () => tooMany,
} satisfies Record<string, NamedError>

/** `extra_info` is about one message, so all of these are. */
function statusUpdate(told: readonly Told[]): string {
  const { wamid, reference, requestId, status } = told[0]!
  return JSON.stringify({
    meta_object: {
      value: {
        messaging_product: 'whatsapp',
        metadata: { display_phone_number: '910000000000', phone_number_id: '104000000000060' },
        statuses: told.map((one) => ({
          id: requestId,
          status: one.status,
          timestamp: String(Math.floor(one.atMs / 1000)),
          recipient_id: one.recipient,
          ...errorsOf(one),
        })),
      },
      field: 'messages',
    },
    extra_info: {
      trace_id: '8f14e45f-e000-4c1a-9e77-1a5000000000',
      message_id: wamid,
      waba_id: '120000034512345',
      ref: reference ?? '',
      ref1: '',
      ref2: '',
    },
    status,
    message_id: wamid,
  })
}

export const kaleyra: System = {
  provider: 'kaleyra',
  endpoints: [endpoint],
  accountFromHead: ({ parameters }) => parameters.phoneNumber?.replace(/^\+/, ''),
  accountFromBody: () => undefined,
  peek(body) {
    const { messaging_object: message, extra_info: extra } = (body ?? {}) as Record<string, unknown>
    const found = peekAt(message, 'to')
    return found && { ...found, reference: stringField(extra, 'ref')?.slice(0, 255) ?? null }
  },
  credentials({ headers, parameters }) {
    const apiKey = soleHeader(headers, 'api-key')
    const sid = parameters.sid
    return apiKey !== undefined && sid !== undefined && /^[A-Za-z0-9]+$/.test(sid)
      ? { sid, apiKey }
      : undefined
  },
  refuseCredentials: (check) => (check === 'wrong' ? sidOrKey : phoneNumber),
  refuseAccount: (name) => (/^[1-9]\d{6,14}$/.test(name) ? undefined : phoneNumber),
  refuseBody: () => payload,
  refuseMethod: () => wrongMethod,
  tooManyRequests: errors['429'],
  lowBalance: errors.E110,
  errors,
  newRequestId: newKaleyraId,
  tellsRequestId: true,
  success: (requestId) => ({
    status: 202,
    code: 'WA202',
    body: `{"code":"WA202","message":"Request Accepted","data":{"message_id":"${requestId}"},"error":{}}`,
  }),
  receipts: { bundles: 'message', body: statusUpdate },
  oddSuccess: {
    'missing-commas': (requestId) =>
      `{\n"code":"WA202"\n"message":"Request Accepted",\n"data":{\n"message_id":"${requestId}"\n}\n"error":{}\n}`,
    'array-data': () => '{"code":"WA202","message":"Request Accepted","data":[],"error":{}}',
    'huge-numbers': () =>
      '{"code":"WA202","message":"Request Accepted","data":{"message_id":604132581490819123456789},"error":{}}',
  },
}
