/** What the README says of receipts. */
import type { Options } from './options.ts'
import { type Cores, RECEIPTS_PER_MESSAGE, type Receipts } from './receipts.ts'
import { share } from './served.ts'
import { SLOW_MS } from './slow-commands.ts'
import { figuresTable } from './table.ts'

const SOON = [0.5, 1] as const
const names: Record<keyof Cores, string> = {
  api: 'API',
  worker: 'worker',
  redis: 'Redis',
  simulator: 'simulator',
  caller: 'caller',
  machine: 'the whole machine',
}

export function receiptsTable(measured: Receipts, { 'receipts-seconds': seconds }: Options): string {
  const { acknowledgedMs, acceptedMs, applied, cores, slow } = measured
  const whole = (value: number) => Math.round(value).toLocaleString('en')
  const within = (limit: number) =>
    (100 * (applied.buckets.find(({ upTo }) => upTo === limit)?.count ?? 0)) / applied.count
  const table = figuresTable(`receipts for ${seconds} s, while messages are accepted and sent`, [
    ['messages accepted and sent per second', whole(measured.messagesPerSecond)],
    ['receipts per second', whole(measured.receiptsPerSecond)],
    ['receipt, posted → acknowledged: p50', `${whole(acknowledgedMs.p50)} ms`],
    ['receipt, posted → acknowledged: p99', `${whole(acknowledgedMs.p99)} ms`],
    ['message, posted → accepted: p99', `${whole(share(acceptedMs, 0.99))} ms`],
    ...SOON.map((limit): [string, string] => [
      `receipts applied within ${limit} s of their arrival`,
      `${within(limit).toFixed(1)} %`,
    ]),
    ['from the last acknowledgement until all were applied', `${whole(measured.lastAppliedMs)} ms`],
  ])
  const busy = (Object.keys(names) as (keyof Cores)[])
    .flatMap((name) => (cores[name] === undefined ? [] : `${names[name]} ${cores[name].toFixed(2)}`))
    .join(', ')
  const { slowestSecond } = measured
  const fewest = slowestSecond === undefined ? '' : ` (fewest in a second: ${whole(slowestSecond)})`
  return `${table}

One API process, one worker: ${whole(measured.messages)} messages, one request each, ${RECEIPTS_PER_MESSAGE} receipts of each in any order, one request each, ${whole(measured.receipts)} in all${fewest}.
Each message has the state and the receipts that the simulator told of it, no more and no fewer. Cores busy: ${busy}. Commands that kept Redis for ${SLOW_MS} ms or longer: ${slow.count}.`
}
