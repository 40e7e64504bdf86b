import type { MessageView } from '@wa-dispatch/dispatch'
import type { TakenMessage } from './simulator.ts'

/** States in which something will still happen by itself. */
const openStates: ReadonlySet<string> = new Set(['scheduled', 'queued', 'retrying', 'sending'])

export const isOpen = ({ state }: Pick<MessageView, 'state'>): boolean => openStates.has(state)

/** A row that was not accepted, and the reason of who refused it. */
export interface Refusal {
  line: number
  by: 'API' | 'CSV'
  why: string
}

/** An accepted row. */
export interface AcceptedRow {
  line: number
  id: string
  account: string
  to: string
  type: string
}

/** What the run has come to. Everything is told by the API; nothing is assumed. */
export interface Tally {
  rows: number
  refused: Refusal[]
  accepted: AcceptedRow[]
  /** The newest known view of each accepted message. */
  views: Map<string, MessageView>
  /** From the first batch to the last message's end. */
  durationMs: number
}

/** What became of sending it, whatever receipts said afterwards. */
export function outcomeOf({ state, error }: Pick<MessageView, 'state' | 'error'>): string {
  const isTaken = ['sent', 'delivered', 'read'].includes(state) || error?.at === 'delivery'
  return isTaken ? 'submitted' : state
}

/** How many messages are in each state, the most frequent first. */
export function countStates(views: Iterable<MessageView>): [state: string, count: number][] {
  return countBy(views, ({ state }) => state)
}

export function countBy<Item>(items: Iterable<Item>, name: (item: Item) => string): [string, number][] {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(name(item), (counts.get(name(item)) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a)
}

/** Each attempt that was not a message's last, by code: what had to be done again. */
export function countRepeated(views: Iterable<MessageView>): [code: string, count: number][] {
  const repeated = [...views].flatMap(({ attempts }) => attempts.slice(0, -1))
  return countBy(repeated, ({ code, outcome }) => `${outcome ?? 'unknown'} ${code ?? ''}`.trim())
}

/** One thing that must hold. */
export interface Check {
  what: string
  holds: boolean
}

/** Holds the numbers against each other, and what the API says against what the providers saw. */
export function checkTally(tally: Tally, taken: readonly TakenMessage[]): Check[] {
  const { rows, refused, accepted, views } = tally
  const states = countBy(views.values(), outcomeOf)
  const inStates = states.reduce((sum, [, count]) => sum + count, 0)

  // By recipient and kind, because not every provider hears our id.
  const keyOf = ({ type, to }: { type: string; to: string }) => `${type} to ${to}`
  const known = (id: string) => {
    const view = views.get(id)
    return view ? outcomeOf(view) : ''
  }
  const rowsIn = (...names: string[]) =>
    new Map(
      countBy(
        accepted.filter(({ id }) => names.includes(known(id))),
        keyOf,
      ),
    )
  const times = new Map(countBy(taken, ({ type, recipient }) => keyOf({ type, to: recipient })))
  const mayBeTaken = rowsIn('submitted', 'uncertain')
  const isReaction = (key: string) => key.startsWith('reaction ')
  return [
    {
      what: `${accepted.length} accepted + ${refused.length} refused = ${rows} rows`,
      holds: accepted.length + refused.length === rows,
    },
    {
      what: `${states.map(([state, count]) => `${count} ${state}`).join(' + ')} = ${accepted.length} accepted`,
      holds: inStates === accepted.length && ![...views.values()].some(isOpen),
    },
    {
      what: 'every submitted message reached its provider',
      holds: [...rowsIn('submitted')].every(([key, count]) => (times.get(key) ?? 0) >= count),
    },
    {
      what: 'no failed or refused message reached a provider',
      holds: [...times.keys()].every((key) => mayBeTaken.has(key)),
    },
    {
      what: 'no reply buttons reached a provider twice',
      holds: [...times].every(([key, count]) => isReaction(key) || count <= (mayBeTaken.get(key) ?? 0)),
    },
  ]
}

/** How many of the messages whose answer was lost had been taken all the same: only the simulator knows. */
export function countTakenUncertain({ accepted, views }: Tally, taken: readonly TakenMessage[]): number {
  const keys = new Set(taken.map(({ type, recipient }) => `${type} ${recipient}`))
  const uncertain = accepted.filter(({ id }) => views.get(id)?.state === 'uncertain')
  return uncertain.filter(({ type, to }) => keys.has(`${type} ${to}`)).length
}
