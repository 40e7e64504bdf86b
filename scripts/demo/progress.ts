import { countStates, isOpen, type Tally } from './tally.ts'
import { bar, LiveBlock, padded, paint } from './terminal.ts'

/** Without a terminal, a line is written this often. */
export const lineEveryMs = 2_000

/** In the order in which they are shown. */
const colours: Record<string, Parameters<typeof paint>[0]> = {
  queued: 'dim',
  sending: 'cyan',
  retrying: 'magenta',
  submitted: 'green',
  sent: 'green',
  delivered: 'green',
  read: 'green',
  uncertain: 'yellow',
  failed: 'red',
}

const coloured = (state: string, text: string): string => paint(colours[state] ?? 'bold', text)

/** Shows how far a run is: a block drawn again in place on a terminal, else a line now and then. */
export class Progress {
  readonly #block = process.stdout.isTTY ? new LiveBlock() : undefined
  readonly #startedAt = performance.now()
  #lineAt = 0

  show(tally: Tally): void {
    if (this.#block) {
      this.#block.draw([...lanes(tally), '', `  ${this.#done(tally)}`, `  ${states(tally)}`])
    } else if (performance.now() - this.#lineAt >= lineEveryMs) {
      this.#lineAt = performance.now()
      console.log([this.#done(tally), states(tally)].join(separator()))
    }
  }

  /** Takes the block away, so that what follows stands in its place. */
  end(): void {
    this.#block?.clear()
  }

  #done({ accepted, views }: Tally): string {
    const seconds = (performance.now() - this.#startedAt) / 1_000
    const ended = [...views.values()].filter((view) => !isOpen(view)).length
    return [`${seconds.toFixed(1)} s`, `${ended} of ${accepted.length} done`].join(separator())
  }
}

export const separator = () => paint('dim', ' · ')

const states = ({ views }: Tally): string => showStates(new Map(countStates(views.values())))

/** Always in the same order, so that the eye finds them again. */
export function showStates(counts: ReadonlyMap<string, number>): string {
  const known = Object.keys(colours).filter((state) => counts.has(state))
  const others = [...counts.keys()].filter((state) => !known.includes(state)).sort()
  return [...known, ...others]
    .map((state) => coloured(state, `${state} ${counts.get(state)}`))
    .join(separator())
}

/** One bar a lane: each has its own limits, and its own troubles. */
function lanes({ accepted, views }: Tally): string[] {
  const accounts = [...new Set(accepted.map(({ account }) => account))].sort()
  return accounts.map((account) => {
    const mine = accepted.filter((row) => row.account === account).map(({ id }) => views.get(id))
    const ended = mine.filter((view) => view && !isOpen(view)).length
    const share = mine.length > 0 ? ended / mine.length : 0
    return `  ${padded(account, 22)} ${bar(share, 30)} ${String(ended).padStart(3)} of ${mine.length}`
  })
}
