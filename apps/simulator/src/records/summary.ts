/** Sums over what came in: totals, duplicates and the fastest second of each account. */
import type { RecordStore } from './store.ts'

const mostExamples = 100

interface Repeat {
  first: number
  times: number
}

/** Accepted requests that are one another's equal. */
export interface Duplicates {
  /** How many messages were accepted more than once. */
  messages: number
  /** How many acceptances were too many: two for a message accepted three times. */
  extra: number
  /** How many of `messages` are of which type: repeating a reaction changes nothing for its recipient. */
  byType: Record<string, number>
  /** The first hundred, each with the record number of its first acceptance. */
  examples: { firstSeq: number; times: number; recipient: string | null; reference: string | null }[]
}

/**
 * Totals count everything since the records were cleared; duplicates and rates are over the records still
 * kept. Takes about a second for a million records, during which nothing is answered.
 */
export function summarise(store: RecordStore) {
  const byContent = new Map<number, Repeat>()
  const byReference = new Map<string, Repeat>()
  const arrivals: number[][] = store.totals.map(() => [])
  const acceptances: number[][] = store.totals.map(() => [])
  store.scan((page, row, seq) => {
    const account = page.account[row]!
    arrivals[account]!.push(page.atMs[row]!)
    if (page.accepted[row] === 0) return
    acceptances[account]!.push(page.atMs[row]!)
    if (page.fingerprint[row] !== 0) count(byContent, page.fingerprint[row]!, seq)
    const reference = page.reference[row]
    if (reference != null) count(byReference, reference, seq)
  })
  const accounts = store.totals.map((totals, index) => ({
    provider: totals.provider,
    account: totals.account,
    arrived: totals.arrived,
    accepted: totals.accepted,
    byCode: Object.fromEntries(totals.byCode),
    maxArrivedPerSecond: fastestSecond(arrivals[index]!),
    maxAcceptedPerSecond: fastestSecond(acceptances[index]!),
  }))
  const arrived = accounts.reduce((sum, account) => sum + account.arrived, 0)
  return {
    arrived,
    accepted: accounts.reduce((sum, account) => sum + account.accepted, 0),
    kept: Math.min(arrived, store.lastSeq - store.firstSeq + 1),
    accounts,
    duplicates: {
      sameContent: duplicates(store, byContent),
      sameReference: duplicates(store, byReference),
    },
  }
}

function count<Key>(repeats: Map<Key, Repeat>, key: Key, seq: number): void {
  const repeat = repeats.get(key)
  if (repeat === undefined) repeats.set(key, { first: seq, times: 1 })
  else repeat.times += 1
}

function duplicates(store: RecordStore, repeats: Map<unknown, Repeat>): Duplicates {
  const found: Duplicates = { messages: 0, extra: 0, byType: {}, examples: [] }
  for (const { first, times } of repeats.values()) {
    if (times === 1) continue
    const record = store.get(first)!
    found.messages += 1
    found.extra += times - 1
    const type = record.type ?? 'unknown'
    found.byType[type] = (found.byType[type] ?? 0) + 1
    if (found.examples.length < mostExamples) {
      found.examples.push({
        firstSeq: first,
        times,
        recipient: record.recipient,
        reference: record.reference,
      })
    }
  }
  return found
}

/** The most times that lie within any one second (half open: exactly 1,000 ms apart is not within). */
export function fastestSecond(timesMs: number[]): number {
  const sorted = Float64Array.from(timesMs).sort()
  let most = 0
  let start = 0
  for (let end = 0; end < sorted.length; end++) {
    while (sorted[end]! - sorted[start]! >= 1000) start += 1
    most = Math.max(most, end - start + 1)
  }
  return most
}
