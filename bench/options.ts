/** What `npm run bench` can be told. */
import { parseArgs } from 'node:util'

/** What is measured, in this order; each part begins with an empty Redis. */
export const PARTS = [
  'dispatch',
  'accept',
  'import',
  'scale',
  'running',
  'memory',
  'receipts',
  'limits',
] as const
export type Part = (typeof PARTS)[number]

interface Amount {
  otherwise: number
  quick: number
  least: number
  does: string
}

/** Whole numbers. */
const AMOUNTS = {
  // Even: which side goes first changes from pair to pair, and makes a difference.
  pairs: { otherwise: 8, quick: 4, least: 1, does: 'rounds of each side in dispatch and accept' },
  messages: { otherwise: 6_000, quick: 3_000, least: 2, does: 'dispatched in a round' },
  seconds: { otherwise: 4, quick: 2, least: 1, does: 'of accepting in a round' },
  'warm-up': { otherwise: 100, quick: 50, least: 0, does: 'percent of a round, before the first' },
  rows: {
    otherwise: 1_000_000,
    quick: 100_000,
    least: 100,
    does: 'of a large campaign: import, scale, running',
  },
  'import-pairs': { otherwise: 1, quick: 3, least: 1, does: 'rounds of each side in import' },
  'scale-pairs': { otherwise: 3, quick: 2, least: 1, does: 'rounds of each side in scale' },
  'few-rows': { otherwise: 10_000, quick: 5_000, least: 20, does: 'of a small campaign: scale' },
  'running-seconds': {
    otherwise: 50,
    quick: 35,
    least: 1,
    does: 'of single messages beside campaigns: running',
  },
  pauses: { otherwise: 3, quick: 1, least: 1, does: 'of the large campaign: running' },
  'sent-rows': {
    otherwise: 100_000,
    quick: 20_000,
    least: 20,
    does: 'of the campaign that finishes: memory',
  },
  'receipts-seconds': { otherwise: 60, quick: 20, least: 1, does: 'of receipts beside messages: receipts' },
  'told-per-second': {
    otherwise: 1_000,
    quick: 1_000,
    least: 1,
    does: 'messages, each with three receipts: receipts',
  },
  waiting: { otherwise: 20_000, quick: 8_000, least: 20, does: 'on each limit: limits' },
  'limit-seconds': { otherwise: 20, quick: 8, least: 1, does: 'that a limit is looked at: limits' },
  'settling-seconds': {
    otherwise: 10,
    quick: 10,
    least: 1,
    does: 'in which a lower limit is found out: limits',
  },
  'limit-pairs': {
    otherwise: 5,
    quick: 3,
    least: 1,
    does: "rounds of each side of the limiter's cost: limits",
  },
} satisfies Record<string, Amount>
type Amounts = Record<keyof typeof AMOUNTS, number>

export interface Options extends Amounts {
  write: boolean
  profile: boolean
  help: boolean
  parts: readonly Part[]
}

const number = (value: number) => value.toLocaleString('en')
const line = (option: string, does: string) => `  ${option.padEnd(20)} ${does}`

export const usage = [
  'npm run bench -- [options]',
  line('--only A,B', `of: ${PARTS.join(', ')}`),
  line('--quick', 'about two minutes, for a first look'),
  line('--write', 'puts the tables into README.md'),
  line('--profile', 'leaves a CPU profile of each measured process in .cache/bench-profiles'),
  ...Object.entries(AMOUNTS).map(([name, { does, otherwise, quick }]) =>
    line(`--${name} N`, `${does} (${number(otherwise)}; quick: ${number(quick)})`),
  ),
].join('\n')

const text = { type: 'string' } as const
const yes = { type: 'boolean', default: false } as const

/** @throws with what is wrong, for people */
export function readOptions(args: string[]): Options {
  const names = Object.keys(AMOUNTS) as (keyof typeof AMOUNTS)[]
  const { values } = parseArgs({
    args,
    options: {
      quick: yes,
      write: yes,
      profile: yes,
      help: yes,
      only: text,
      ...(Object.fromEntries(names.map((name) => [name, text])) as Record<keyof typeof AMOUNTS, typeof text>),
    },
  })
  const { quick, write, profile, help, only } = values
  const amounts = names.map((name) => {
    const { otherwise, quick: whenQuick, least } = AMOUNTS[name]
    const amount = Number(values[name] ?? (quick ? whenQuick : otherwise))
    if (!Number.isInteger(amount) || amount < least)
      throw new Error(`--${name} must be a whole number from ${least}`)
    return [name, amount]
  })
  const asked = only?.split(',') ?? PARTS
  const unknown = asked.find((part) => !PARTS.includes(part as Part))
  if (unknown !== undefined) throw new Error(`--only knows ${PARTS.join(', ')}, and no "${unknown}"`)
  return {
    ...(Object.fromEntries(amounts) as Amounts),
    write,
    profile,
    help,
    parts: PARTS.filter((part) => asked.includes(part)),
  }
}
