/** A campaign as callers read it: its numbers, how fast it goes, and what it waits for. */
import type { CampaignRecord, CampaignView, MessageState } from '@wa-dispatch/dispatch'
import type { Storage } from '../../storage.ts'

/** A rate that nobody has measured for so long is none. */
const RATE_VALID_MS = 15_000

/** What has to be known beside the record; milliseconds since 1970. */
export interface Surroundings {
  now: number
  /** Of the account's lane. */
  lanePaused: boolean
  /** Why the account's breaker is open, in the provider's words; undefined while it is closed. */
  stoppedBy: string | undefined
  /** Of the account. */
  perSecond: number
  /** When the last of its waiting messages is due. */
  lastDue: number | undefined
}

/** Asks for the surroundings of several campaigns, each lane once. */
export async function viewsOf(storage: Storage, records: CampaignRecord[]): Promise<CampaignView[]> {
  const now = await storage.ledger.now()
  const lanes = new Map<string, Promise<Pick<Surroundings, 'lanePaused' | 'stoppedBy'>>>()
  const laneOf = (account: string) => {
    const asked = lanes.get(account) ?? askLane(storage, account)
    lanes.set(account, asked)
    return asked
  }
  return Promise.all(
    records.map(async (record) => {
      const { account } = record.definition
      const { perSecond } = storage.accounts.get(account)!.rateLimit
      const [lane, lastDue] = await Promise.all([laneOf(account), lastDueOf(storage, record)])
      return viewOf(record, { now, ...lane, perSecond, lastDue })
    }),
  )
}

async function askLane({ lanes, limiter, accounts }: Storage, account: string) {
  const [lanePaused, { breaker }] = await Promise.all([
    lanes.get(account)!.isPaused(),
    limiter.read(accounts.get(account)!),
  ])
  const { state, reason } = { reason: undefined, ...breaker }
  return {
    lanePaused,
    stoppedBy: state === 'closed' ? undefined : [reason?.code, reason?.message].filter(Boolean).join(' '),
  }
}

/** Only retries wait for a time of their own. */
async function lastDueOf({ redis, campaigns }: Storage, record: CampaignRecord): Promise<number | undefined> {
  if (!record.counts.retrying) return undefined
  const waiting = campaigns.waitingKey(record.id)
  const [last] = await redis.zrange(waiting, '-1', '-1')
  const due = last === undefined ? null : await redis.zscore(waiting, last)
  return due === null ? undefined : Number(due)
}

export function viewOf(record: CampaignRecord, surroundings: Surroundings): CampaignView {
  const { id, definition, state, total, counts, rejected, duplicates, createdAt } = record
  const { name, account, message, reference, priority, weight, sendAt, expiresAt, postBackUrl } = definition
  const rate = rateOf(record, surroundings.now)
  const end = endOf(record, rate, surroundings)
  return {
    id: id.text,
    name,
    account,
    state,
    message,
    ...(reference !== undefined && { reference }),
    priority,
    weight,
    ...(sendAt !== undefined && { send_at: instant(sendAt) }),
    ...(expiresAt !== undefined && { expires_at: instant(expiresAt) }),
    ...(postBackUrl !== undefined && { post_back_url: postBackUrl }),
    created_at: instant(createdAt),
    ...(record.startedAt !== undefined && { started_at: instant(record.startedAt) }),
    ...(record.finishedAt !== undefined && { finished_at: instant(record.finishedAt) }),
    total,
    counts,
    rejected,
    duplicates,
    rate,
    ...(end !== undefined && { estimated_end: instant(end) }),
    waiting_for: waitingFor(record, surroundings),
  }
}

const instant = (milliseconds: number) => new Date(milliseconds).toISOString()

/** Messages a second, to a tenth. */
function rateOf({ samples }: CampaignRecord, now: number): number {
  const first = samples.at(0)
  const last = samples.at(-1)
  if (!first || !last || last.at <= first.at || now - last.at > RATE_VALID_MS) return 0
  // A retry takes messages back.
  const settled = Math.max(0, last.count - first.count)
  return Math.round((settled / (last.at - first.at)) * 10_000) / 10
}

const sum = (counts: CampaignRecord['counts'], ...states: MessageState[]) =>
  states.reduce((total, state) => total + (counts[state] ?? 0), 0)

function endOf(
  { state, counts, definition }: CampaignRecord,
  rate: number,
  { now, lanePaused, stoppedBy, perSecond, lastDue = 0 }: Surroundings,
): number | undefined {
  if ((state !== 'running' && state !== 'scheduled') || lanePaused || stoppedBy !== undefined)
    return undefined
  const remaining = sum(counts, 'scheduled', 'queued', 'retrying', 'sending')
  if (remaining === 0) return undefined
  const start = state === 'scheduled' ? Math.max(now, definition.sendAt ?? 0) : now
  return Math.max(start + (remaining / (rate || perSecond)) * 1_000, lastDue)
}

/** In plain words; empty when nothing has to happen any more. */
function waitingFor(
  { state, counts, definition, retry, finishedAt }: CampaignRecord,
  { lanePaused, stoppedBy, lastDue }: Surroundings,
): string[] {
  if (finishedAt !== undefined) return []
  const { sendAt, account } = definition
  const amount = (number: number, words: string) => (number > 0 ? [`${number} ${words}`] : [])
  const retries = sum(counts, 'retrying')
  const waits = retries + sum(counts, 'queued', 'scheduled')
  const until = lastDue === undefined ? '' : `, the last at about ${instant(lastDue).slice(0, 16)}Z`
  return [
    ...(state === 'draft' ? ['to be started'] : []),
    ...(state === 'scheduled' && sendAt !== undefined ? [`its time: ${instant(sendAt)}`] : []),
    ...(state === 'paused' ? ['to be resumed: it is paused'] : []),
    ...(lanePaused && state !== 'draft' ? [`the lane of ${account} to be resumed: it is paused`] : []),
    ...(stoppedBy !== undefined && state !== 'draft' && waits > 0
      ? [`${account} to be let send again: ${stoppedBy}`]
      : []),
    ...amount(sum(counts, 'queued', 'scheduled'), state === 'cancelled' ? 'to be cancelled' : 'queued'),
    ...amount(sum(counts, 'sending'), 'being sent'),
    ...amount(retries, `${retries === 1 ? 'retry' : 'retries'}${until}`),
    ...(retry ? ['failed messages to be put back into the queue'] : []),
    ...amount(sum(counts, 'uncertain'), 'uncertain: held until their outcome is known or decided'),
  ]
}
