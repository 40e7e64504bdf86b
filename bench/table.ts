/** From measured pairs to the table that stands in the README. */
import { median, type Pair } from './pairs.ts'

/** A number of both sides, each with its median, and the ratios of the pairs. */
export interface Row {
  what: string
  ours: string
  theirs: string
  ratio: string
}

const number = (digits: number) =>
  new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
const formats = {
  /** 1,234 */
  whole: (value: number) => number(0).format(value),
  milliseconds: (value: number) => `${number(2).format(value)} ms`,
  calls: (value: number) => number(1).format(value),
  bytes: (value: number) => `${number(0).format(value)} B`,
  /** Given in milliseconds. */
  microseconds: (value: number) => `${number(1).format(value * 1_000)} µs`,
  /** Given in bytes. */
  megabytes: (value: number) => `${number(0).format(value / 1e6)} MB`,
  times: (value: number) => number(2).format(value),
}

/** @returns undefined when this machine does not tell that number */
export function row<Measured>(
  what: string,
  pairs: readonly Pair<Measured>[],
  value: (measured: Measured) => number | undefined,
  format: keyof typeof formats,
): Row | undefined {
  const numbers = pairs.map(({ ours, theirs }) => ({ ours: value(ours), theirs: value(theirs) }))
  const complete = numbers.filter(
    (pair): pair is Pair<number> => pair.ours !== undefined && pair.theirs !== undefined,
  )
  if (complete.length < numbers.length || complete.length === 0) return undefined
  const ratios = complete.map(({ ours, theirs }) => ours / theirs)
  const two = number(2)
  return {
    what,
    ours: formats[format](median(complete.map(({ ours }) => ours))),
    theirs: formats[format](median(complete.map(({ theirs }) => theirs))),
    ratio: `${two.format(median(ratios))} (${two.format(Math.min(...ratios))}–${two.format(Math.max(...ratios))})`,
  }
}

/** @param headings what is compared, and the names of the two sides */
export function markdownTable(
  headings: [string, string, string],
  rows: readonly (Row | undefined)[],
): string {
  const lines = rows
    .filter((row) => row !== undefined)
    .map(({ what, ours, theirs, ratio }) => `| ${what} | ${ours} | ${theirs} | ${ratio} |`)
  return [`| ${headings.join(' | ')} | ratio |`, '|---|--:|--:|--:|', ...lines].join('\n')
}

/** A table of numbers that are held against nothing. */
export const figuresTable = (heading: string, figures: readonly [what: string, value: string][]): string =>
  [`| ${heading} | |`, '|---|--:|', ...figures.map(([what, value]) => `| ${what} | ${value} |`)].join('\n')

/** "1 round", "2,000 rounds" */
export const count = (amount: number, one: string): string =>
  `${number(0).format(amount)} ${one}${amount === 1 ? '' : 's'}`

const START = '<!-- bench:start -->'
const END = '<!-- bench:end -->'

/** Puts `text` between the two markers. @throws when the document does not have both, once and in order */
export function betweenMarkers(document: string, text: string): string {
  const [before, inner, ...more] = document.split(START)
  const [, after, ...rest] = (inner ?? '').split(END)
  if (before === undefined || after === undefined || more.length || rest.length)
    throw new Error(`there must be one ${START} and after it one ${END}`)
  return `${before}${START}\n${text.trim()}\n${END}${after}`
}
