/**
 * The story of one attempt. No BullMQ in here: a job comes in as the message it names, a verdict goes out. One that was
 * accepted is settled by whoever ends its job.
 *
 *   wait for a slot and for the next free instant → claim → send → settle
 *
 * The order is what makes it safe: the claim is durable before a byte leaves, and after the send nothing can lead to
 * a second one but what the ledger decides.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Account,
  type AttemptContext,
  type Claim,
  decide,
  decideNotSent,
  type Held,
  isLost,
  type JobEnds,
  type Ledger,
  type Limiter,
  type MessageId,
  maskPhone,
  type Settled,
  type StoredContent,
  stopsLane,
  WORKER_LOST,
} from '@wa-dispatch/dispatch'
import { type Http, isIdempotent, type Provider, type SendOutcome } from '@wa-dispatch/providers'
import type { Logger } from 'pino'
import type { FetchWindow } from './fetch-window.ts'
import type { Metrics } from './metrics.ts'
import type { Quickest } from './quickest.ts'
import type { RecentOutcomes } from './recent-outcomes.ts'
import type { Slots } from './slots.ts'

/** What becomes of the job. */
export type Verdict =
  /** Nothing more to do; `settled`: once this is, which it is together with the end of the job. */
  | { kind: 'done'; state: string; settled?: Promise<unknown> }
  /** Nothing more to do, and a person may want to know why. */
  | { kind: 'failed'; reason: string }
  /** Run it again then; `paired`: its turn with its recipient is given. */
  | { kind: 'later'; inMs: number; paired?: boolean }
  /** Put it back; nobody takes anything from this lane for so long; `paired` as above. */
  | { kind: 'rest'; forMs: number; paired?: boolean }

export interface DispatchDependencies {
  account: Account
  provider: Provider
  ledger: Ledger
  /** How long claims take. */
  claimTimes: Quickest
  jobEnds: JobEnds
  limiter: Limiter
  slots: Slots
  http: Http
  metrics: Metrics
  log: Logger
  /** When it was last heard that nothing may be sent, by `performance.now()`: older instants are void. */
  rest: { since: number }
  recent: RecentOutcomes
  window: FetchWindow
  /** Aborted when the worker was told to stop: who waits long for an instant leaves it. */
  closing: AbortSignal
  /** Lets all workers take from the lane again at once. */
  wakeLane: () => Promise<unknown>
}

/** A job, as far as this story needs it. */
export interface DispatchJob {
  /** The job's own id. */
  job: string
  id: MessageId
  /** Which of the message's jobs it is. */
  generation: number
  to: string
  /** Its turn with its recipient was given before. */
  paired: boolean
}

/** How long the ledger believes in a claim: reaching the provider, its answer, and as long again. */
export const claimHoldMs = (timeoutMs: number): number => 2 * timeoutMs + 2_000

export async function processDispatch(
  job: DispatchJob,
  dependencies: DispatchDependencies,
): Promise<Verdict> {
  const { account, slots } = dependencies
  // Who waited for a slot when the worker was told to stop leaves the message to another.
  if (!(await slots.acquire(account.id))) return { kind: 'rest', forMs: 1, paired: job.paired }
  let settled: Promise<unknown> | undefined
  try {
    const turn = await takeTurn(job, dependencies)
    if ('kind' in turn) return turn
    const verdict = turn.probe ? await probe(job, dependencies) : await attempt(job, dependencies)
    if (verdict.kind === 'done') settled = verdict.settled
    return verdict
  } finally {
    const release = () => slots.release(account.id)
    if (settled) settled.then(release, release)
    else release()
  }
}

/** A recipient's turn that is so near is waited for in the slot. */
const SHORT_WAIT_MS = 150
/**
 * A lane is asked again at least so often, however long it has to rest: whatever ends the rest early (a probe that is
 * accepted, a person, another limit) is then seen everywhere within this time, and nothing has to be told to anybody.
 */
const LONGEST_REST_MS = 500

/** Waits for an instant to send at. @returns whether the attempt probes the breaker; or what becomes of the job */
async function takeTurn(
  { to, paired }: DispatchJob,
  { account, limiter, rest, window, closing }: DispatchDependencies,
): Promise<{ probe: boolean } | Verdict> {
  for (let hasPair = paired, overslept = false; ; ) {
    const askedAt = performance.now()
    const turn = await limiter.reserve(account, hasPair ? undefined : to)
    switch (turn.kind) {
      case 'pair':
        if (turn.inMs > SHORT_WAIT_MS) {
          window.setAside()
          return { kind: 'later', inMs: turn.inMs, paired: true }
        }
        hasPair = true
        await sleep(turn.inMs)
        continue
      case 'shut':
        rest.since = performance.now()
        return { kind: 'rest', forMs: Math.min(turn.forMs, LONGEST_REST_MS), paired: hasPair }
      case 'rest':
        return { kind: 'rest', forMs: Math.min(turn.forMs, LONGEST_REST_MS), paired: hasPair }
      case 'go':
        window.sent()
        hasPair = true
        // A process that was held up would let all that it missed go at once, into the instants of the others.
        // Once: one that is always late has to send, too.
        if ((await isLate(turn, account, closing)) && !overslept && !turn.probe) {
          overslept = true
          continue
        }
        if (closing.aborted && turn.waitMs > LONGEST_LAST_WAIT_MS)
          return { kind: 'rest', forMs: 1, paired: true }
        // Meanwhile the provider may have said that it is too much, or that it is pointless: then the limiter knows.
        if (turn.probe || rest.since < askedAt) return { probe: turn.probe }
    }
  }
}

/**
 * Who comes so much too late asks for another instant, as by so much of a second the limit could be passed. Up to the
 * next instant it may be late in any case: that makes one message more in a second.
 */
const LATEST_MS = 50

const isTooLate = (byMs: number, account: Account): boolean =>
  byMs > Math.max(LATEST_MS, 1_000 / account.rateLimit.perSecond)

/** Waits for the instant. @returns whether this process was held up for so long that it is over */
async function isLate(
  { waitMs }: { waitMs: number },
  account: Account,
  closing: AbortSignal,
): Promise<boolean> {
  const instant = performance.now() + waitMs
  if (waitMs >= 1) await sleepUntilClosing(waitMs, closing)
  return isTooLate(performance.now() - instant, account)
}

/**
 * Another instant for an attempt whose claim came too late for its own; its turn with its recipient stays.
 * @returns whether there was one soon, and it is now
 */
async function takeLaterInstant({ account, limiter, rest, closing }: DispatchDependencies): Promise<boolean> {
  const askedAt = performance.now()
  const turn = await limiter.reserve(account, undefined).catch(() => undefined)
  if (turn?.kind !== 'go') return false
  if (turn.probe) {
    await limiter.reprobe(account, false).catch(() => undefined)
    return false
  }
  if (await isLate(turn, account, closing)) return false
  return rest.since < askedAt && !(closing.aborted && turn.waitMs > LONGEST_LAST_WAIT_MS)
}

/** What is so near is waited for also when the worker was told to stop. */
const LONGEST_LAST_WAIT_MS = 1_000

const sleepUntilClosing = (ms: number, signal: AbortSignal): Promise<unknown> =>
  ms > LONGEST_LAST_WAIT_MS ? sleep(ms, undefined, { signal }).catch(() => undefined) : sleep(ms)

/** A probe that does not come to an attempt, as its message is not to be sent any more, makes room for the next. */
async function probe(job: DispatchJob, dependencies: DispatchDependencies): Promise<Verdict> {
  const { account, limiter } = dependencies
  const told = { outcome: false }
  try {
    return await attempt(job, dependencies, told)
  } finally {
    if (!told.outcome) await limiter.reprobe(account, false).catch(() => undefined)
  }
}

/** Names this process in its claims. */
const run = randomBytes(6).toString('base64url')
let claims = 0

async function attempt(
  job: DispatchJob,
  dependencies: DispatchDependencies,
  probe?: { outcome: boolean },
): Promise<Verdict> {
  const { account, claimTimes, ledger, provider, http, metrics } = dependencies
  const { id, generation } = job
  const askedAt = performance.now()
  const claim = await ledger.claim(id, generation, claimHoldMs(account.timeoutMs), `${run}${++claims}`)
  const claimedAt = performance.now()
  const heldUpMs = claimTimes.beyond(claimedAt - askedAt, claimedAt)
  switch (claim.kind) {
    case 'early':
      return { kind: 'later', inMs: claim.inMs, paired: true }
    case 'held':
      return giveUpWhenLost(job, claim, dependencies)
    case 'parked':
    case 'expired':
      return { kind: 'done', state: claim.kind }
    case 'stale':
      return { kind: 'done', state: claim.state ?? 'unknown' }
    case 'claimed':
      break
  }
  metrics.waited(account.id, claim.waitedMs)
  const stored = readContent(claim.content, account)
  if ('outcome' in stored) return settle(job, stored, claim, false, 0, dependencies)
  const idempotent = isIdempotent(stored.message)

  // Redis may have stood still over the claim, with those of many others: they would all go at once. A probe goes alone.
  if (!probe && isTooLate(heldUpMs, account) && !(await takeLaterInstant(dependencies)))
    return settle(job, 'not sent', claim, idempotent, 0, dependencies)
  // A worker that was frozen, or that waited long for Redis, may find its claim given up: it must not send any more.
  // One that lost only BullMQ's lock may: nobody else gets a claim before this attempt has ended.
  const startedAt = performance.now()
  if (startedAt - askedAt >= account.timeoutMs)
    return settle(job, 'not sent', claim, idempotent, 0, dependencies)
  const outcome = await provider.send(
    { id: id.text, to: claim.to, content: stored.message },
    { account, http },
  )
  const durationMs = performance.now() - startedAt
  if (probe) probe.outcome = true
  // Before the message is settled: nothing else is sent on the strength of what held until now.
  await tellBreaker(outcome, probe !== undefined, dependencies).catch((error: Error) =>
    dependencies.log.warn({ account: account.id, reason: error.message }, 'breaker.not_told'),
  )
  return settle(job, outcome, claim, idempotent, durationMs, dependencies)
}

/** What the outcome says about sending anything at all. */
async function tellBreaker(
  outcome: SendOutcome,
  probe: boolean,
  { account, limiter, log, rest, recent, wakeLane }: DispatchDependencies,
): Promise<void> {
  recent.saw(account.id, outcome)
  const reason = stopsLane(outcome)
  if (reason || (probe && isLost(outcome))) {
    const why = reason && { code: reason.code, kind: reason.kind, message: masked(reason.message) }
    rest.since = performance.now()
    if (await limiter.trip(account, why, probe)) log.error({ account: account.id, ...why }, 'breaker.opened')
    rest.since = performance.now()
  } else if (probe && outcome.outcome === 'accepted') {
    if (await limiter.heal(account)) log.info({ account: account.id }, 'breaker.closed')
    await wakeLane()
  } else if (probe) {
    await limiter.reprobe(account, true)
  }
}

/** @returns what is to be sent, or why it cannot be */
function readContent(content: string, account: Account): StoredContent | SendOutcome {
  const refused = (code: string, message: string) =>
    ({ outcome: 'rejected', kind: 'other', code, message }) as const
  try {
    const stored = JSON.parse(content) as StoredContent
    if (stored.account === account.id) return stored
    return refused(
      'OTHER_ACCOUNT',
      `The message belongs to the account ${stored.account}: Redis may have lost data.`,
    )
  } catch {
    return refused('CONTENT_LOST', 'What was to be sent cannot be read any more: Redis may have lost data.')
  }
}

/** @param outcome 'not sent': the claim was ours, and we know that nothing was written */
async function settle(
  { job, id }: DispatchJob,
  outcome: SendOutcome | 'not sent',
  claim: Pick<Claim, 'attempt' | 'tries'> & { to?: string },
  idempotent: boolean,
  durationMs: number,
  dependencies: DispatchDependencies,
): Promise<Verdict> {
  const { account, ledger, jobEnds, limiter, metrics, log, rest } = dependencies
  const { attempt, tries, to } = claim
  const context: AttemptContext = { attempt, tries, idempotent, durationMs, random: Math.random() }
  const { settlement, throttled } =
    outcome === 'not sent' ? decideNotSent(context) : decide(outcome, account, context)
  const laneRestMs = throttled && throttled.scope !== 'pair' ? throttled.restMs : undefined
  if (laneRestMs !== undefined) rest.since = performance.now()
  // Before the message is settled: nothing else is sent on the strength of the old limit.
  if (throttled)
    await limiter
      .throttled(account, throttled.scope, to ?? '', durationMs, throttled.restMs)
      .catch(() => undefined)
  if (laneRestMs !== undefined) rest.since = performance.now()
  const write = () => untilWritten(() => ledger.settle(id, settlement), log)
  const tell = ({ state }: Settled) => {
    metrics.attempted(account.id, settlement.outcome, durationMs)
    log.info(
      {
        message: id.text,
        account: account.id,
        to: to && maskPhone(to),
        attempt,
        outcome: settlement.outcome,
        code: settlement.code,
        duration_ms: Math.round(durationMs),
        state,
        next_in_ms: settlement.inMs,
      },
      'dispatch.attempted',
    )
  }
  // Whatever the ledger says to that, the job has nothing more to do.
  if (settlement.state === 'submitted') {
    const apart = (reason: string) => {
      log.warn({ message: id.text, reason }, 'ledger.settled_apart')
      return write()
    }
    const settled = jobEnds.settle(job, id, settlement, apart).then(tell)
    return { kind: 'done', state: settlement.state, settled }
  }

  const written = await write()
  tell(written)
  const { settled, state } = written
  if (!settled) return { kind: 'done', state: state ?? 'unknown' }
  switch (state) {
    case 'queued':
    case 'retrying':
      metrics.retried(account.id)
      return laneRestMs === undefined
        ? { kind: 'later', inMs: settlement.inMs ?? 0, paired: outcome === 'not sent' }
        : { kind: 'rest', forMs: Math.min(laneRestMs, LONGEST_REST_MS) }
    // Receipts were faster than the answer.
    case 'sent':
    case 'delivered':
    case 'read':
      return { kind: 'done', state }
    default:
      return {
        kind: 'failed',
        reason: `${state}: ${settlement.code} ${masked(settlement.error?.message ?? '')}`,
      }
  }
}

/** Providers repeat the number in what they say. */
const masked = (text: string): string => text.replace(/\d{7,15}/g, maskPhone).trim()

/**
 * Another attempt is under way, or its worker died in the middle of it. While it may still be alive, wait;
 * after that nobody knows what became of it.
 */
async function giveUpWhenLost(
  job: DispatchJob,
  held: Held,
  dependencies: DispatchDependencies,
): Promise<Verdict> {
  if (held.inMs > 0) return { kind: 'later', inMs: held.inMs + 100 }
  return settle(job, WORKER_LOST, held, held.idempotent, 0, dependencies)
}

/** A command that Redis itself refuses so often will be refused for ever. */
const MOST_REFUSALS = 20

/** What happened at the provider has to be written down, however long Redis is away. */
async function untilWritten<T>(write: () => Promise<T>, log: Logger): Promise<T> {
  for (let round = 0; ; round++) {
    try {
      return await write()
    } catch (error) {
      const { name, message } = error as Error
      if (round % 10 === 0) log.error({ reason: message }, 'ledger.settle_failed')
      if (name === 'ReplyError' && round >= MOST_REFUSALS) throw error
      await sleep(Math.min(100 * 2 ** round, 2_000))
    }
  }
}
