/**
 * What an answer means that the provider's own application did not make, or not in a way that its documents name:
 * a gateway's error page, an empty body, a connection that broke. One place for all providers.
 */
import type { HttpFailure } from './http.ts'
import { isSuccess, type OutcomeRow, outcomeOf } from './outcomes.ts'
import type { SendOutcome } from './provider.ts'

/** By status; see {@link byClass} for the others. */
const byStatus = {
  // Nobody was authenticated, so nothing was sent; the next message would fare the same.
  401: { outcome: 'rejected', kind: 'credentials', message: 'not authenticated' },
  403: { outcome: 'rejected', kind: 'credentials', message: 'not allowed with these credentials' },
  // Nothing at this address sends messages: a wrong host, path or id in it.
  404: { outcome: 'rejected', kind: 'request', message: "not found: check the account's baseUrl and sender" },
  405: { outcome: 'rejected', kind: 'request', message: "method not allowed: check the account's baseUrl" },
  // The server did not read the request to its end (RFC 9110, 15.5.9).
  408: { outcome: 'unavailable', message: 'the server did not get the request in time' },
  // The server would not risk processing it (RFC 8470).
  425: { outcome: 'unavailable', message: 'too early' },
  429: { outcome: 'throttled', message: 'too many requests' },
  // A program failed somewhere on the way, perhaps after the message had gone out.
  500: { outcome: 'uncertain', message: 'server error without an explanation' },
  // The server does not know how to do this at all (RFC 9110, 15.6.2 and 15.6.6).
  501: { outcome: 'rejected', kind: 'request', message: "not implemented: check the account's baseUrl" },
  505: { outcome: 'rejected', kind: 'request', message: 'HTTP version not supported' },
  // The gateway passed it on and lost the answer.
  502: { outcome: 'uncertain', message: 'bad gateway: the provider may have got the message' },
  504: { outcome: 'uncertain', message: 'gateway time-out: the provider may have got the message' },
  // Whoever answers this is not ready to handle the request (RFC 9110, 15.6.4): it was turned away at the door.
  503: { outcome: 'unavailable', message: 'service unavailable' },
  // The request could not be stored, or failed as a whole in a loop of servers (RFC 4918, RFC 5842).
  507: { outcome: 'unavailable', message: 'insufficient storage' },
  508: { outcome: 'unavailable', message: 'loop detected' },
  // A portal in our own network answered, not the provider (RFC 6585).
  511: { outcome: 'unavailable', message: 'the network asks for a login' },
  // Cloudflare could not connect to the provider's server: refused, no route, TLS failed, bad certificate.
  521: { outcome: 'unavailable', message: "the provider's server refused Cloudflare's connection" },
  523: { outcome: 'unavailable', message: "Cloudflare could not reach the provider's server" },
  525: { outcome: 'unavailable', message: "Cloudflare's TLS handshake with the provider failed" },
  526: { outcome: 'unavailable', message: "the provider's certificate is invalid" },
} satisfies Record<number, OutcomeRow>

const byClass = {
  // A 2xx says that something was taken, whatever else it says.
  2: { outcome: 'uncertain', message: 'the answer says success but cannot be read' },
  // Never followed: credentials would go to an address that nobody configured.
  3: { outcome: 'rejected', kind: 'request', message: "a redirect: check the account's baseUrl" },
  4: { outcome: 'rejected', kind: 'other', message: 'refused without an explanation' },
  // Nobody says that it was not taken.
  5: { outcome: 'uncertain', message: 'server error without an explanation' },
} satisfies Record<number, OutcomeRow>

const unknownStatus: OutcomeRow = { outcome: 'uncertain', message: 'an unknown HTTP status' }

/** An answer that no table of the provider knows. */
export interface UnknownReply {
  status: number
  /** The provider's own code, where it could be read. */
  code?: string | undefined
  /** The provider's own words, where they could be read. */
  message?: string | null | undefined
  retryAfterMs?: number | undefined
  /** The provider's application itself says that it failed, so a 5xx means that nothing was taken. */
  saysFailed?: boolean
}

/** The meaning of an answer by its HTTP status alone. */
export function outcomeByStatus(reply: UnknownReply): SendOutcome {
  const { status, code = `HTTP_${status}`, message, retryAfterMs } = reply
  return outcomeOf(rowFor(reply), { code, message, retryAfterMs, status })
}

function rowFor({ status, saysFailed }: UnknownReply): OutcomeRow {
  if (saysFailed && status >= 500) return { outcome: 'unavailable' }
  if (saysFailed && isSuccess(status)) return { outcome: 'rejected', kind: 'other' }
  const table: Record<number, OutcomeRow> = byStatus
  const classes: Record<number, OutcomeRow> = byClass
  return table[status] ?? classes[Math.floor(status / 100)] ?? unknownStatus
}

/** The meaning of no answer: what was never written is safe to send again, what may have been is not. */
export function outcomeOfFailure({ code, message, written }: HttpFailure): SendOutcome {
  return written
    ? { outcome: 'uncertain', code, message, answered: false }
    : { outcome: 'unavailable', code, message }
}
