import type { MessageView } from '@wa-dispatch/dispatch'
import type { DryRun, Uploaded } from './campaign-client.ts'
import type { Breaker } from './client.ts'
import type { ArrivedRequest } from './simulator.ts'
import { heading } from './summary.ts'
import { countBy } from './tally.ts'
import { alignedRight, amount, paint, table } from './terminal.ts'

/** Not all of them: the file's owner mends these first. */
const shownReasons = 10
const shownLines = 5

export function writeUploaded(
  { accepted, rejected, duplicates, errors }: Uploaded,
  durationMs: number,
): void {
  console.log(heading(`Uploaded examples/campaign.csv in ${(durationMs / 1_000).toFixed(1)} s`))
  const lines = [
    ['accepted', amount(accepted), 'can be sent: each was checked with its variables filled in'],
    ['rejected', amount(rejected), ''],
    ['duplicates', amount(duplicates), 'the same recipient again: not sent twice'],
  ]
  for (const line of aligned(lines)) console.log(line)
  const reasons = [...Map.groupBy(errors, ({ message }) => message)].slice(0, shownReasons)
  const shown = reasons.map(([message, rows]) => [describeLines(rows), message])
  for (const line of table(shown)) console.log(line)
}

function describeLines(rows: readonly { line: number }[]): string {
  const lines = rows.slice(0, shownLines).map(({ line }) => line)
  const more = rows.length > shownLines ? ' …' : ''
  return `line${rows.length > 1 ? 's' : ''} ${lines.join(', ')}${more}`
}

export function writeDryRun(id: string, dryRun: DryRun): void {
  console.log(heading(`Dry run: POST /v1/campaigns/${id}/check`))
  const reasons = Object.entries(dryRun.rejections).map(([reason, count]) => `${amount(count)} ${reason}`)
  const lines = [
    ['total', amount(dryRun.total), ''],
    ['rejected', amount(dryRun.rejected), reasons.join(', ')],
    ['duplicates', amount(dryRun.duplicates), ''],
    ['already reached', amount(dryRun.already_reached), 'by a campaign of the same name within a day'],
    ['seconds', amount(dryRun.duration_seconds), "it will take at the account's limit"],
    ...dryRun.warnings.map((warning) => [paint('yellow', 'warning'), '', warning]),
  ]
  for (const line of aligned(lines)) console.log(line)
  console.log('\n  As they would go out:')
  const examples = dryRun.examples.map(({ line, to, message }) => [
    `line ${line}`,
    to,
    textOf(message).join(' '),
  ])
  for (const line of table(examples)) console.log(line)
}

/** Every text of a message that its recipient reads; a button in brackets. */
function textOf(value: unknown, key = ''): string[] {
  if (typeof value === 'string') {
    if (key === 'title') return [`[${value}]`]
    return key === 'text' ? [value] : []
  }
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, child]) => textOf(child, name))
}

/** Messages that failed for the same reason are one line. */
export function writeFailed(failed: readonly MessageView[]): void {
  console.log(heading('Failed by now'))
  const reasons = countBy(failed, ({ error }) => `${error!.code}\n${error!.kind}: ${error!.message}`)
  const lines = reasons.map(([reason, count]) => [amount(count), ...reason.split('\n')])
  for (const line of table(lines)) console.log(line)
}

/** What came in at the provider since a pause was answered. */
export function describePause(came: readonly ArrivedRequest[], fromMs: number): string {
  const last = came.at(-1)
  if (!last) return 'nothing came in at the provider meanwhile'
  const afterMs = Math.ceil(last.atMs - fromMs)
  return `${came.length} in flight came in at the provider, the last after ${afterMs} ms`
}

export function describeBreaker({ state, next_probe_at: at }: Breaker): string {
  if (at === undefined) return `the breaker is ${state}`
  if (state === 'half-open') return 'the breaker is half-open: a probe is under way'
  const seconds = Math.max(0, Date.parse(at) - Date.now()) / 1_000
  return `the breaker is ${state}: next probe in ${seconds.toFixed(1)} s`
}

/** @param met how many messages failed for the reason why it is open @param waiting how many it keeps from that */
export function describeStop(
  account: string,
  { code, message }: NonNullable<Breaker['reason']>,
  met: number,
  waiting: number,
): string[] {
  return [
    `The breaker of ${account} is open: ${code} ${message}`,
    `${amount(met)} messages met it and failed, ${amount(waiting)} wait untouched`,
  ]
}

/** @param taken the recipients whose message the provider took */
export function describeResolved(uncertain: readonly MessageView[], taken: ReadonlySet<string>): string {
  const arrived = uncertain.filter(({ to }) => taken.has(to)).length
  return (
    `${uncertain.length} answers were lost; the provider has ${arrived} of these messages, so they are resolved ` +
    `as submitted, and the other ${uncertain.length - arrived} sent again: POST /v1/messages/…/resolve`
  )
}

const aligned = (lines: readonly string[][]): string[] =>
  table(lines.map(([name = '', number = '', why = '']) => [name, alignedRight(number, 6), why]))
