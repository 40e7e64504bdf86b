/**
 * The story of one attempt. No BullMQ in here: a job comes in as the message it names, a verdict goes out.
 *
 *   wait for a slot and for the lane's next instant → claim → send → settle
 *
 * The order is what makes it safe: the claim is durable before a byte leaves, and after the send nothing can lead to
 * a second one but what the ledger decides.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Account,
  type AttemptContext,
  type Claim,
  decide,
  decideNotSent,
  type Held,
  type Ledger,
  type Limiter,
  type MessageId,
  maskPhone,
  type StoredContent,
} from '@wa-dispatch/dispatch'
import { type Http, isIdempotent, type Provider, type SendOutcome } from '@wa-dispatch/providers'
import type { Logger } from 'pino'
import type { Metrics } from './metrics.ts'
import type { Slots } from './slots.ts'

/** What becomes of the job. */
export type Verdict =
  /** Nothing more to do. */
  | { kind: 'done'; state: string }
  /** Nothing more to do, and a person may want to know why. */
  | { kind: 'failed'; reason: string }
  /** Run it again at this time; milliseconds since 1970. */
  | { kind: 'later'; at: number }
  /** Put it back; nobody takes anything from this lane for so long. */
  | { kind: 'rest'; milliseconds: number }

export interface DispatchDependencies {
  account: Account
  /** The account's key in the limiter. */
  limiterKey: string
  provider: Provider
  ledger: Ledger
  limiter: Limiter
  slots: Slots
  http: Http
  metrics: Metrics
  log: Logger
}

/** How long the ledger believes in a claim: reaching the provider, its answer, and as long again. */
export const claimHoldMs = (timeoutMs: number): number => 2 * timeoutMs + 2_000

/**
 * @param job the message, and which of its jobs this is
 * @param signal aborted when the job was lost to another worker
 */
export async function processDispatch(
  job: { id: MessageId; generation: number },
  dependencies: DispatchDependencies,
  signal?: AbortSignal,
): Promise<Verdict> {
  const { account, limiter, limiterKey, slots } = dependencies
  await slots.acquire(account.id)
  try {
    const turn = await limiter.reserve(limiterKey, account.rateLimit.perSecond)
    if (!turn.reserved) return { kind: 'rest', milliseconds: turn.waitMs }
    if (turn.waitMs >= 1) await sleep(turn.waitMs)
    return await attempt(job, dependencies, signal)
  } finally {
    slots.release(account.id)
  }
}

async function attempt(
  { id, generation }: { id: MessageId; generation: number },
  dependencies: DispatchDependencies,
  signal: AbortSignal | undefined,
): Promise<Verdict> {
  const { account, ledger } = dependencies
  const askedAt = performance.now()
  const claim = await ledger.claim(id, generation, claimHoldMs(account.timeoutMs), randomUUID().slice(0, 13))
  switch (claim.kind) {
    case 'early':
      return { kind: 'later', at: claim.due }
    case 'held':
      return giveUpWhenLost(id, claim, dependencies)
    case 'expired':
      return { kind: 'done', state: 'expired' }
    case 'stale':
      return { kind: 'done', state: claim.state ?? 'unknown' }
    case 'claimed':
      break
  }
  dependencies.metrics.waited(account.id, claim.waitedMs)
  const { message } = JSON.parse(claim.content) as StoredContent

  // A worker that was frozen, or that waited long for Redis, may find its claim given up: it must not send any more.
  const stillOurs = performance.now() - askedAt < account.timeoutMs && !signal?.aborted
  const startedAt = performance.now()
  const outcome: SendOutcome | NotSent = stillOurs
    ? await dependencies.provider.send(
        { id: id.text, to: claim.to, content: message },
        { account, http: dependencies.http, ...(signal && { signal }) },
      )
    : 'not sent'
  const durationMs = performance.now() - startedAt
  return settle(id, outcome, claim, isIdempotent(message), durationMs, dependencies)
}

/** The claim was ours, and we know that nothing was written. */
type NotSent = 'not sent'

async function settle(
  id: MessageId,
  outcome: SendOutcome | NotSent,
  claim: Pick<Claim, 'attempt' | 'tries' | 'expiresAt'> & { to?: string },
  idempotent: boolean,
  durationMs: number,
  { account, ledger, limiter, limiterKey, metrics, log }: DispatchDependencies,
): Promise<Verdict> {
  const context: AttemptContext = {
    attempt: claim.attempt,
    tries: claim.tries,
    expiresAt: claim.expiresAt,
    idempotent,
    durationMs,
    now: Date.now(),
    random: Math.random(),
  }
  const decision = outcome === 'not sent' ? decideNotSent(context) : decide(outcome, account, context)
  const { settlement } = decision
  const written = await untilWritten(() => ledger.settle(id, settlement), log)
  if (decision.laneRestMs !== undefined) await limiter.rest(limiterKey, decision.laneRestMs)

  metrics.attempted(account.id, settlement.outcome, durationMs)
  log.info(
    {
      message: id.text,
      account: account.id,
      ...(claim.to && { to: maskPhone(claim.to) }),
      attempt: settlement.attempt,
      outcome: settlement.outcome,
      code: settlement.code,
      duration_ms: Math.round(durationMs),
      state: written.state,
      ...(settlement.at && { at: new Date(settlement.at).toISOString() }),
    },
    'dispatch.attempted',
  )
  if (!written.settled) return { kind: 'done', state: written.state ?? 'unknown' }
  if (decision.laneRestMs !== undefined && settlement.state === 'queued')
    return { kind: 'rest', milliseconds: decision.laneRestMs }
  switch (settlement.state) {
    case 'queued':
    case 'retrying':
      metrics.retried(account.id)
      return { kind: 'later', at: settlement.at ?? context.now }
    case 'submitted':
      return { kind: 'done', state: settlement.state }
    default:
      return {
        kind: 'failed',
        reason: `${settlement.state}: ${settlement.code} ${settlement.error?.message ?? ''}`.trim(),
      }
  }
}

/**
 * Another attempt is under way, or its worker died in the middle of it. While it may still be alive, wait;
 * after that nobody knows what became of it.
 */
export async function giveUpWhenLost(
  id: MessageId,
  held: Held,
  dependencies: DispatchDependencies,
): Promise<Verdict> {
  if (held.until > (await dependencies.ledger.now())) return { kind: 'later', at: held.until + 100 }
  const outcome: SendOutcome = {
    outcome: 'uncertain',
    code: 'WORKER_LOST',
    message: 'The worker stopped between claiming the message and writing down the answer.',
    answered: false,
  }
  return settle(id, outcome, held, held.idempotent, 0, dependencies)
}

/** What happened at the provider has to be written down, however long Redis is away. */
async function untilWritten<T>(write: () => Promise<T>, log: Logger): Promise<T> {
  for (let round = 0; ; round++) {
    try {
      return await write()
    } catch (error) {
      if (round % 10 === 0)
        log.error({ reason: error instanceof Error ? error.message : String(error) }, 'ledger.settle_failed')
      await sleep(Math.min(100 * 2 ** round, 2_000))
    }
  }
}
