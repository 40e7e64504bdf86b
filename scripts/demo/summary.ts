import type { MessageView } from '@wa-dispatch/dispatch'
import { type Check, countBy, countRepeated, outcomeOf, type Tally } from './tally.ts'
import { alignedRight, paint, table } from './terminal.ts'

/** A message that was looked up by its provider's request id, and whether it was the right one. */
export interface LookedUp {
  requestId: string
  found: MessageView | undefined
  right: boolean
}

export const heading = (text: string): string => `\n${paint('bold', text)}`

/** Writes what became of the rows. `takenUncertain`: see countTakenUncertain. */
export function writeSummary(tally: Tally, takenUncertain: number): void {
  const { rows, refused, accepted, durationMs } = tally
  const views = [...tally.views.values()]
  const states = new Map(countBy(views, outcomeOf))
  const repeated = views.filter(({ attempts }) => attempts.length > 1)
  const seconds = durationMs / 1_000
  const uncertain = states.get('uncertain') ?? 0
  const others = [...states].filter(([state]) => !['submitted', 'failed', 'uncertain'].includes(state))

  const unreadable = refused.filter(({ by }) => by === 'CSV').length
  console.log(heading('Summary'))
  const lines = [
    ['rows', String(rows), ''],
    ['refused', String(refused.length), `${refused.length - unreadable} by the API, ${unreadable} by CSV`],
    ['accepted', String(accepted.length), ''],
    ['submitted', paint('green', String(states.get('submitted') ?? 0)), 'the provider took it'],
    ['failed', paint('red', String(states.get('failed') ?? 0)), 'the provider refused it'],
    [
      'uncertain',
      paint('yellow', String(uncertain)),
      `the answer was lost, so it is not sent again by itself (${takenUncertain} of them did arrive)`,
    ],
    ...others.map(([state, count]) => [state, paint('red', String(count)), '']),
    ['retried', String(repeated.length), describeRepeated(views)],
    ['rate', (accepted.length / seconds).toFixed(1), `a second; ${seconds.toFixed(1)} s in all`],
  ]
  const aligned = lines.map(([name = '', number = '', why = '']) => [name, alignedRight(number, 6), why])
  for (const line of table(aligned)) console.log(line)

  console.log(heading('Refused'))
  for (const line of table(refused.map(({ line, by, why }) => [`line ${line}`, by, why]))) console.log(line)

  console.log(heading('Failed and uncertain'))
  const troubled = views.filter((view) => view.error && ['failed', 'uncertain'].includes(outcomeOf(view)))
  const reasons = countBy(troubled, (view) => describeTrouble(view).join('\n'))
  const troubles = reasons.map(([reason, count]) => [String(count), ...reason.split('\n')])
  for (const line of table(troubles.sort((a, b) => a[1]!.localeCompare(b[1]!)))) console.log(line)
}

/** Writes what the providers said of the messages that they took, and who was told of it. */
export function writeReceipts(
  views: readonly MessageView[],
  { settled, unmatched, heard }: ReceiptSummary,
): void {
  const taken = views.filter((view) => outcomeOf(view) === 'submitted')
  const states = new Map(countBy(taken, ({ state }) => state))
  const count = (state: string) => String(states.get(state) ?? 0)
  const failed = countBy(
    taken.filter(({ state }) => state === 'failed'),
    ({ error }) => `${error!.code} ${error!.message}`,
  )
  const events = [...heard.values()].reduce((sum, types) => sum + types.length, 0)
  console.log(heading(`What became of the ${taken.length} submitted, by their providers' receipts`))
  const lines = [
    ['read', paint('green', count('read')), ''],
    ['delivered', paint('green', count('delivered')), ''],
    ['sent', paint('green', count('sent')), 'of a reaction nothing more is ever told'],
    ['undelivered', paint('red', count('failed')), failed.map(([why]) => why).join('; ')],
    ['silent', count('submitted'), 'the campaign API of Zixflow tells nothing'],
    [
      'settled',
      String(settled.length),
      'their answer was lost, and their receipts say that they arrived: not sent again',
    ],
    ['unmatched', String(unmatched), 'request ids that nobody knows: GET /v1/receipts?unmatched=true'],
    ['post-backs', String(events), 'told to the caller, who verified their signatures'],
  ]
  const aligned = lines.map(([name = '', number = '', why = '']) => [name, alignedRight(number, 6), why])
  for (const line of table(aligned)) console.log(line)
}

export interface ReceiptSummary {
  /** Messages that were uncertain until a receipt came. */
  settled: readonly MessageView[]
  /** Request ids that no message is known by. */
  unmatched: number
  /** Of each message, what its caller was told. */
  heard: ReadonlyMap<string, readonly string[]>
}

/** Messages with the same of it are one line. */
function describeTrouble({ state, account, error, attempts }: MessageView): string[] {
  const { code, kind, message } = error!
  const times = attempts.length > 1 ? ` (${attempts.length} attempts)` : ''
  return [state, account, code, `${kind === state ? '' : `${kind}: `}${message}${times}`]
}

function describeRepeated(views: MessageView[]): string {
  const codes = countRepeated(views).map(([code, count]) => `${count} × ${code}`)
  return codes.length > 0 ? `after ${codes.join(', ')}` : ''
}

/** Writes messages as the API tells them by request id. */
export function writeLookUps(lookedUp: readonly LookedUp[]): void {
  console.log(heading('Looked up by request id: GET /v1/messages?request_id=…'))
  const rows = lookedUp.map(({ requestId, found }) => [
    requestId,
    found
      ? `${found.reference ?? ''}, ${found.account}, ${found.state} after ${found.attempts
          .map(({ code, duration_ms }) => `${code} (${duration_ms} ms)`)
          .join(', ')}${describeReceipts(found)}`
      : paint('red', 'not found'),
  ])
  for (const line of table(rows)) console.log(line)
}

const describeReceipts = ({ receipts }: MessageView): string =>
  receipts.length > 0 ? `; receipts: ${receipts.map(({ status }) => status).join(', ')}` : ''

/** Writes each check; gives whether all hold. */
export function writeChecks(checks: readonly Check[]): boolean {
  console.log(heading('Checked'))
  for (const { what, holds } of checks) {
    console.log(holds ? `  ${paint('green', '✓')} ${what}` : `  ${paint('red', '✗ does not hold:')} ${what}`)
  }
  return checks.every(({ holds }) => holds)
}
