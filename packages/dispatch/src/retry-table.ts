/**
 * The one retry authority: what follows from an attempt. No library below retries anything.
 *
 * | outcome | then | costs a try | how long until |
 * |---|---|---|---|
 * | accepted | submitted | – | – |
 * | throttled | queued again; the scope that is too fast rests and is slowed | no | Retry-After, else (or when that is over) 1 s doubling to 60 s |
 * | unavailable | retrying, at last failed | yes | the account's `retry.unavailable.delaysMs`, at least Retry-After |
 * | uncertain, may be sent twice | retrying, at last uncertain | yes | the same |
 * | uncertain, otherwise, or a 2xx that cannot be read | uncertain | yes | the account's window, then `onUncertain` |
 * | rejected | failed | yes | – |
 *
 * A wait that would end after `expires_at` ends the message as expired: the ledger sees to that, by Redis' clock.
 */
import type { SendOutcome } from '@wa-dispatch/providers'
import type { MessageError, Settlement } from './ledger/index.ts'
import type { BreakerReason, ThrottledScope } from './limiter/limiter.ts'

export interface RetryRules {
  retry: { unavailable: { delaysMs: number[] } }
  /** How long an uncertain message waits for news; milliseconds. */
  uncertainWindowMs: number
}

/** What is known of the message when its attempt ended. */
export interface AttemptContext {
  attempt: number
  /** Tries that counted before this one. */
  tries: number
  idempotent: boolean
  durationMs: number
  /** A number from 0 up to 1, for the jitter. */
  random: number
}

/** What to write, and for how long the lane should rest. */
export interface Decision {
  settlement: Settlement
  /** What is to be slowed, and for how long nothing of it is sent; milliseconds. */
  throttled?: { scope: ThrottledScope; restMs: number }
}

/** The claim was ours and nothing was written: as if it had not been tried. */
export function decideNotSent({ attempt }: AttemptContext): Decision {
  const settlement = {
    attempt,
    durationMs: 0,
    outcome: 'unavailable',
    code: 'NOT_SENT',
    state: 'queued',
  } as const
  return { settlement: { ...settlement, inMs: 0, counts: false } }
}

/** No provider stops a lane for longer than this with one answer. */
export const MAXIMUM_REST_MS = 3_600_000
/** Retries that fail together do not come back together: up to this share is added to each wait. */
const JITTER = 0.1

export function decide(outcome: SendOutcome, rules: RetryRules, context: AttemptContext): Decision {
  const { attempt, durationMs } = context
  const base = { attempt, durationMs, outcome: outcome.outcome, code: outcome.code }
  switch (outcome.outcome) {
    case 'accepted':
      return { settlement: { ...base, state: 'submitted', counts: true, requestId: outcome.requestId } }
    case 'rejected':
      return { settlement: { ...base, state: 'failed', counts: true, error: errorOf(outcome, outcome.kind) } }
    case 'throttled': {
      const restMs = Math.min(outcome.retryAfterMs || backoffMs(attempt - context.tries), MAXIMUM_REST_MS)
      return {
        settlement: waiting('queued', restMs, false, errorOf(outcome, 'throttled')),
        throttled: { scope: outcome.scope ?? 'account', restMs },
      }
    }
    case 'unavailable':
      return { settlement: again(errorOf(outcome, 'unavailable'), 'failed', outcome.retryAfterMs) }
    case 'uncertain':
      if (context.idempotent && !outcome.answered)
        return { settlement: again(errorOf(outcome, 'uncertain'), 'uncertain') }
      return { settlement: held(errorOf(outcome, 'uncertain'), outcome.answered) }
  }

  function again(error: MessageError, exhausted: 'failed' | 'uncertain', retryAfterMs = 0): Settlement {
    const delayMs = rules.retry.unavailable.delaysMs[context.tries]
    if (delayMs === undefined) {
      return exhausted === 'uncertain'
        ? held(error, false)
        : { ...base, state: 'failed', counts: true, error }
    }
    const waitMs = Math.max(delayMs * (1 + JITTER * context.random), Math.min(retryAfterMs, MAXIMUM_REST_MS))
    return waiting('retrying', waitMs, true, error)
  }

  function waiting(
    state: 'queued' | 'retrying',
    waitMs: number,
    counts: boolean,
    error: MessageError,
  ): Settlement {
    return { ...base, state, inMs: Math.ceil(waitMs), counts, error }
  }

  function held(error: MessageError, answered: boolean): Settlement {
    return {
      ...base,
      state: 'uncertain',
      inMs: rules.uncertainWindowMs,
      counts: true,
      answered,
      error,
    }
  }
}

/** How long to leave a provider alone that only says that it is too much, the n-th time. */
const backoffMs = (times: number): number => Math.min(1_000 * 2 ** Math.min(times - 1, 6), 60_000)

const errorOf = (outcome: { code: string; message: string }, kind: string): MessageError => ({
  code: outcome.code,
  kind,
  message: outcome.message,
  at: 'submit',
})

/** Refusals after which sending the next message of the account is pointless too. */
const POINTLESS: readonly string[] = ['balance', 'credentials', 'account', 'policy']

/** @returns why the lane should stop; undefined when it should not */
export const stopsLane = (outcome: SendOutcome): BreakerReason | undefined =>
  outcome.outcome === 'rejected' && POINTLESS.includes(outcome.kind)
    ? { code: outcome.code, kind: outcome.kind, message: outcome.message }
    : undefined

/** Whether the attempt came to nothing and it is not the message's fault. */
export const isLost = ({ outcome }: { outcome: SendOutcome['outcome'] }): boolean =>
  outcome === 'unavailable' || outcome === 'uncertain'
