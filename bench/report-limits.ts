/** What the README says of limits. */
import { ALLOWED, type FoundOut } from './found-out.ts'
import { PROCESSES } from './limited-sides.ts'
import { KILLS, type Limits, type Paced } from './limits.ts'
import type { Options } from './options.ts'
import { median } from './pairs.ts'
import { count, markdownTable, row } from './table.ts'

const whole = (value: number) => Math.round(value).toLocaleString('en')
const worst = ({ fastestSecond }: Paced) => fastestSecond.toLocaleString('en')
const rate = ({ perSecond, limit }: Paced) => `${whole(perSecond)} (${(perSecond / limit).toFixed(2)})`
const line = (...cells: string[]) => `| ${cells.join(' | ')} |`

export function limitsTable(limits: Limits, options: Options): string {
  const { paced, restless } = limits
  const { waiting, 'limit-seconds': seconds } = options
  const table = [
    line(
      `limits, ${PROCESSES} worker processes`,
      'worst second',
      'reached',
      '`limiter`: worst second',
      'reached',
    ),
    '|---|--:|--:|--:|--:|',
    ...paced.map(({ ours, theirs }) =>
      line(`${whole(ours.limit)} a second`, worst(ours), rate(ours), worst(theirs), rate(theirs)),
    ),
    ...restless.map((ours) =>
      line(`${whole(ours.limit)}, while workers are killed and added`, worst(ours), rate(ours), '', ''),
    ),
  ].join('\n')
  const fast = paced.at(-1)!
  const cpu = [fast.ours.cpuMs, fast.theirs.cpuMs].map((ms) =>
    ms === undefined ? '?' : `${ms.toFixed(2)} ms`,
  )
  return `${table}

*worst second*: the most that arrived in any second, wherever it begins, by the simulator's clock; *reached*: messages per second (as a share of the limit). *\`limiter\`*: BullMQ's own, the same number of processes, each with \`got.post\`.
${waiting.toLocaleString('en')} messages wait on each limit, which is looked at for ${seconds} s; ${count(KILLS, 'worker')} killed meanwhile, each followed by a new one. At ${whole(fast.ours.limit)} a second a message costs ${cpu[0]} of the workers' CPU, and ${cpu[1]} with \`limiter\`.

${foundOutTable(limits.foundOut, options)}

${costTable(limits.cost, options)}`
}

function foundOutTable(found: FoundOut[], options: Options): string {
  const { 'settling-seconds': settling, 'limit-seconds': seconds } = options
  const table = [
    line(
      `a provider that allows ${ALLOWED.really} a second behind ${ALLOWED.configured}`,
      'accepted a second',
      'refused',
      `refused in the first ${settling} s`,
    ),
    '|---|--:|--:|--:|',
    ...found.map(({ saysWhen, perSecond, refusedShare, refusedBefore }) =>
      line(
        saysWhen ? 'its 429 says `Retry-After`' : 'its 429 says nothing',
        perSecond.toFixed(1),
        `${(refusedShare * 100).toFixed(1)} %`,
        String(refusedBefore),
      ),
    ),
  ].join('\n')
  return `${table}

Looked at for ${seconds} s from second ${settling} on; no message failed.`
}

function costTable(pairs: Limits['cost'], { 'limit-pairs': rounds, messages }: Options): string {
  const table = markdownTable(
    ["the limiter's cost", 'with it', 'without it'],
    [
      row('CPU of the worker per message', pairs, (one) => one.cpuMs, 'microseconds'),
      row('CPU of Redis per message', pairs, (one) => one.redisCpuMs, 'microseconds'),
      row('scripts in Redis per message', pairs, (one) => one.redisScripts, 'times'),
    ],
  )
  const differences = pairs.map(
    ({ ours, theirs }) => ((ours.cpuMs ?? Number.NaN) - (theirs.cpuMs ?? Number.NaN)) * 1_000,
  )
  const asked = pairs.map(({ ours, theirs }) => ours.redisScripts - theirs.redisScripts)
  const cpu = Number.isNaN(differences[0])
    ? ''
    : `${median(differences).toFixed(0)} µs of the worker's CPU and `
  return `${table}

The same worker, a limit that nobody has to wait for, and the question left out; ${count(rounds, 'round')} of ${messages.toLocaleString('en')} messages each. By the median of the pairs the limiter costs ${cpu}${median(asked).toFixed(2)} round trips to Redis a message.`
}
