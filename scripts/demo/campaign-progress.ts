import type { CampaignView } from '@wa-dispatch/dispatch'
import { lineEveryMs, separator, showStates } from './progress.ts'
import { amount, bar, LiveBlock, paint } from './terminal.ts'

const openStates = ['scheduled', 'queued', 'retrying', 'sending'] as const

/** Messages that have an end, or wait for somebody's decision. */
export const countDone = ({ total, counts }: CampaignView): number =>
  total - openStates.reduce((sum, state) => sum + (counts[state] ?? 0), 0)

/** Shows how far a campaign is: a block drawn again in place on a terminal, else a line now and then. */
export class CampaignProgress {
  readonly #block = process.stdout.isTTY ? new LiveBlock() : undefined
  #lineAt = 0

  /** @param pace instead of the campaign's own, where there is more to say */
  show(view: CampaignView, pace = describePace(view)): void {
    const { total, counts } = view
    const done = countDone(view)
    const progress = `${amount(done)} of ${amount(total)}`
    const states = showStates(new Map(Object.entries(counts).filter(([, count]) => count > 0)))
    if (this.#block) {
      const share = total > 0 ? done / total : 0
      this.#block.draw([
        `  ${bar(share, 40)} ${String(Math.floor(share * 100)).padStart(3)} %  ${progress}`,
        `  ${pace}`,
        `  ${states}`,
      ])
    } else if (performance.now() - this.#lineAt >= lineEveryMs) {
      this.#lineAt = performance.now()
      console.log(`  ${[`${progress} done`, pace, states].join(separator())}`)
    }
  }

  /** Writes lines that stay, above what is drawn next. */
  note(...lines: string[]): void {
    this.end()
    for (const line of lines) console.log(line)
    // What comes after them is soon told too.
    this.#lineAt = 0
  }

  /** Takes the block away, so that what follows stands in its place. */
  end(): void {
    this.#block?.clear()
  }
}

function describePace({ state, rate, estimated_end: end, waiting_for: waits }: CampaignView): string {
  if (state !== 'running') return state
  const pace = rate > 0 ? `${rate.toFixed(1)} a second` : 'rate not measured yet'
  if (end !== undefined) return [pace, describeEnd(new Date(end))].join(separator())
  return waits.length > 0 ? `waits for ${waits.join(', ')}` : pace
}

function describeEnd(end: Date): string {
  const seconds = Math.max(0, Math.round((end.getTime() - Date.now()) / 1_000))
  const clock = end.toLocaleTimeString('en-GB')
  return `ends at ${paint('bold', clock)}, in ${seconds} s`
}
