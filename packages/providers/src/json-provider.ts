/** What every provider that takes and gives JSON shares, so that an adapter is only its request and its table. */
import { outcomeByStatus, outcomeOfFailure } from './fall-through.ts'
import type { HttpReply } from './http.ts'
import { parseJson } from './json.ts'
import { isSuccess, type OutcomeTable } from './outcomes.ts'
import {
  defineProvider,
  type OutboundMessage,
  type Provider,
  type SendContext,
  type SendOutcome,
} from './provider.ts'
import { retryAfterMs } from './retry-after.ts'
import { tellable, tellableCode } from './untrusted-text.ts'
import { whatsappOutcome } from './whatsapp-codes.ts'

/** The one HTTP call of an attempt; `content-type` is added where it is made. */
export interface WireRequest {
  url: string
  headers: Record<string, string>
  json: unknown
}

/** A provider's answer before anybody gave it a meaning. */
export interface Answer {
  status: number
  /** Status 200 to 299. */
  success: boolean
  /** Parsed JSON; undefined where there was none. Not trusted: it may be anything. */
  body: unknown
  /** `Retry-After`, milliseconds from now. */
  retryAfterMs: number | undefined
}

/** What an adapter adds to the vocabulary's provider. */
export interface JsonAdapter<Account> extends Omit<Provider<Account>, 'send' | 'secrets'> {
  secrets: readonly (keyof Account & string)[]
  outcomes: OutcomeTable
  /** Builds the call; for one message always the same. */
  request(message: OutboundMessage, account: SendContext<Account>['account']): WireRequest
  /** The meaning of an answer; undefined where the provider's documents say nothing about it. */
  read(answer: Answer): SendOutcome | undefined
  /** Reads a body that is not quite JSON; strict where absent. */
  parse?(text: string): unknown
}

/** Makes a provider of an adapter: one call, every answer and failure an outcome, no secret in any of them. */
export function defineJsonProvider<Account>(adapter: JsonAdapter<Account>): JsonProvider<Account> {
  const { request, read, parse = parseJson, outcomes, ...provider } = adapter

  function meaningOf(reply: HttpReply): SendOutcome {
    const { status } = reply
    const wait = retryAfterMs(reply.headers['retry-after'])
    // A body that was cut is never JSON; trying costs time.
    const body = reply.truncated ? undefined : parse(reply.body)
    return (
      read({ status, success: isSuccess(status), body, retryAfterMs: wait }) ??
      whatsappOutcome(body, status, wait) ??
      outcomeByStatus({ status, retryAfterMs: wait })
    )
  }

  return {
    ...defineProvider<Account>({
      ...provider,
      async send(message, { account, http, signal }) {
        const secrets = adapter.secrets.map((field) => String(account[field]))
        const call = request(message, account)
        const reply = await http.post({ ...call, timeoutMs: account.timeoutMs, signal })
        return tell(reply.kind === 'reply' ? meaningOf(reply) : outcomeOfFailure(reply), secrets)
      },
    }),
    outcomes,
  }
}

/** A provider whose documented answers are known as a table. */
export interface JsonProvider<Account = unknown> extends Provider<Account> {
  outcomes: OutcomeTable
}

function tell(outcome: SendOutcome, secrets: string[]): SendOutcome {
  // Nothing may be left of a code or a text that was all invisible.
  const code = tellableCode(outcome.code, secrets) || 'UNREADABLE_CODE'
  if (outcome.outcome === 'accepted') return { ...outcome, code }
  return { ...outcome, code, message: tellable(outcome.message, secrets) || `the provider answered ${code}` }
}
