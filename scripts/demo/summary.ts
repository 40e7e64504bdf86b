import type { MessageView } from '@wa-dispatch/dispatch'
import { type Check, countBy, countRepeated, countStates, type Tally } from './tally.ts'
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
  const states = new Map(countStates(views))
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
  const troubled = views.filter(({ error, state }) => error && (state === 'failed' || state === 'uncertain'))
  const reasons = countBy(troubled, (view) => describeTrouble(view).join('\n'))
  const troubles = reasons.map(([reason, count]) => [String(count), ...reason.split('\n')])
  for (const line of table(troubles.sort((a, b) => a[1]!.localeCompare(b[1]!)))) console.log(line)
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
          .join(', ')}`
      : paint('red', 'not found'),
  ])
  for (const line of table(rows)) console.log(line)
}

/** Writes each check; gives whether all hold. */
export function writeChecks(checks: readonly Check[]): boolean {
  console.log(heading('Checked'))
  for (const { what, holds } of checks) {
    console.log(holds ? `  ${paint('green', '✓')} ${what}` : `  ${paint('red', '✗ does not hold:')} ${what}`)
  }
  return checks.every(({ holds }) => holds)
}
