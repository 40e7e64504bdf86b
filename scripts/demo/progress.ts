import { countStates, isOpen, type Tally } from './tally.ts'
import { bar, LiveBlock, padded, paint } from './terminal.ts'

/** Without a terminal, a line is written this often. */
const lineEveryMs = 2_000

const colours = {
  submitted: 'green',
  failed: 'red',
  uncertain: 'yellow',
  retrying: 'magenta',
} as const

const coloured = (state: string, text: string): string =>
  state in colours ? paint(colours[state as keyof typeof colours], text) : text

/** Shows how far a run is: a block drawn again in place on a terminal, else a line now and then. */
export class Progress {
  readonly #block = process.stdout.isTTY ? new LiveBlock() : undefined
  readonly #startedAt = performance.now()
  #lineAt = 0

  show(tally: Tally): void {
    if (this.#block) {
      this.#block.draw([...lanes(tally), '', `  ${this.#line(tally)}`])
    } else if (performance.now() - this.#lineAt >= lineEveryMs) {
      this.#lineAt = performance.now()
      console.log(this.#line(tally))
    }
  }

  /** Takes the block away, so that what follows stands in its place. */
  end(): void {
    this.#block?.clear()
  }

  #line({ accepted, views }: Tally): string {
    const seconds = (performance.now() - this.#startedAt) / 1_000
    const ended = [...views.values()].filter((view) => !isOpen(view)).length
    const states = countStates(views.values()).map(([state, count]) => coloured(state, `${state} ${count}`))
    return [`${seconds.toFixed(1)} s`, `${ended} of ${accepted.length}`, ...states].join(paint('dim', ' · '))
  }
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
