/**
 * WhatsApp's own error codes, for providers that pass them on ("Error codes", WhatsApp Cloud API).
 * A provider's own table comes first; this one is asked where that knows nothing.
 */
import { z } from 'zod'
import { looseText } from './json.ts'
import { isSuccess, type OutcomeRow, outcomeOf } from './outcomes.ts'
import type { RejectionKind, SendOutcome } from './provider.ts'

/** One message in six seconds to one recipient. */
const pairIntervalMs = 6_000

/** A refusal of this kind and what it says to an operator. */
const refused =
  (kind: RejectionKind) =>
  (message: string): OutcomeRow => ({ outcome: 'rejected', kind, message })
const credentials = refused('credentials')
const content = refused('content')
const recipient = refused('recipient')
const policy = refused('policy')

/** Each row's words are what an operator is told where the provider says nothing, and in receipts. */
export const whatsappCodes = {
  4: { outcome: 'throttled', scope: 'provider', message: 'too many calls of the app' },
  80007: { outcome: 'throttled', scope: 'provider', message: 'too many calls of the business account' },
  130429: { outcome: 'throttled', message: 'too many messages a second from this sender' },
  131056: {
    outcome: 'throttled',
    scope: 'pair',
    retryAfterMs: pairIntervalMs,
    message: 'too many messages to this recipient in a short time',
  },

  // Nobody says what became of it.
  1: { outcome: 'uncertain', message: 'possibly an error of the server' },
  2: { outcome: 'unavailable', message: 'WhatsApp is down or overloaded' },
  131000: { outcome: 'unavailable', message: 'it failed for a reason that WhatsApp does not know' },
  131016: { outcome: 'unavailable', message: 'a service of WhatsApp is away' },
  131057: { outcome: 'unavailable', message: 'the account is in maintenance' },
  133004: { outcome: 'unavailable', message: "WhatsApp's server is away" },

  0: credentials('the app could not be authenticated'),
  3: credentials('the app may not call this'),
  10: credentials('a permission was not granted or was taken away'),
  190: credentials('the access token has ended'),
  131005: credentials('access is denied'),
  368: policy('the account is blocked for a violation of a policy'),
  131031: policy('the account is locked'),
  131042: { outcome: 'rejected', kind: 'balance', message: 'a payment is missing or failed' },
  131048: policy('too many messages of this sender were called spam'),
  131064: policy('templates are paused for their quality'),

  33: {
    outcome: 'rejected',
    kind: 'request',
    message: "the sender's number was deleted or is no such thing",
  },
  100: content('a parameter is not supported or misspelt'),
  131008: content('a parameter is missing'),
  131009: content(
    'a parameter is not valid; for a reaction: its message is over 30 days old, unknown, deleted or itself a reaction',
  ),
  131051: content('the type of message is not supported'),
  131053: content('the media could not be fetched'),
  130472: recipient('the recipient is part of an experiment of WhatsApp'),
  131021: recipient('the recipient is the sender itself'),
  131026: recipient('the recipient is not on WhatsApp, or has an old version of it'),
  131030: recipient("the recipient is not among a test number's allowed ones"),
  131047: recipient('more than 24 hours since the recipient last wrote'),
  131049: recipient('WhatsApp keeps the recipient from too much marketing'),
  131050: recipient('the recipient opted out of marketing'),
  132068: content('the flow is blocked'),
} satisfies Record<number, OutcomeRow>

/** Codes that are documented as ranges. */
const ranges: { from: number; to: number; row: OutcomeRow }[] = [
  { from: 200, to: 299, row: credentials('a permission was not granted or was taken away') },
  { from: 132000, to: 132016, row: content('the template does not exist, does not fit, or did not pass') },
]

const error = z
  .object({ code: looseText, message: looseText, error_data: z.object({ details: looseText }).nullish() })
  .nullish()
  .catch(undefined)

/** Cloud API: `{ error: { code, message } }`; statuses: `{ errors: [{ code, message }] }`. */
const withError = z.object({
  code: looseText,
  message: looseText,
  error,
  errors: z.array(error).nullish().catch(undefined),
})

/**
 * Finds a WhatsApp code in an answer.
 * @returns undefined where there is none, or one that WhatsApp does not document.
 */
export function whatsappOutcome(
  body: unknown,
  status: number,
  retryAfterMs?: number,
): SendOutcome | undefined {
  const parsed = withError.safeParse(body)
  if (!parsed.success) return undefined
  const { code: topCode, message: topMessage } = parsed.data
  // Directly in the answer, or beside a success, a short code may as well be an HTTP status, the provider's own,
  // or a zero for "no error": there only codes of six digits count.
  const nested = isSuccess(status) ? /^1\d{5}$/ : /^\d{1,6}$/
  const candidates = [
    { found: parsed.data.error, counts: nested },
    { found: parsed.data.errors?.[0], counts: nested },
    { found: { code: topCode, message: topMessage }, counts: /^1\d{5}$/ },
  ]
  for (const { found, counts } of candidates) {
    const row = found?.code && counts.test(found.code) ? rowFor(found.code) : undefined
    if (row && found?.code) {
      const message = found.message ?? topMessage
      return outcomeOf(row, { code: found.code, message, status, retryAfterMs })
    }
  }
  return undefined
}

/** @param code digits, as the answer holds them. */
export function rowFor(code: string): OutcomeRow | undefined {
  if (!/^\d{1,6}$/.test(code)) return undefined
  const table: Record<string, OutcomeRow> = whatsappCodes
  const number = Number(code)
  return table[number] ?? ranges.find(({ from, to }) => number >= from && number <= to)?.row
}

/** What a code says to an operator; undefined for one that WhatsApp does not document. */
export function whatsappWords(code: string): string | undefined {
  const row = rowFor(code)
  return row && 'message' in row ? row.message : undefined
}
