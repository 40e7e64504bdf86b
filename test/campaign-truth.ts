/** Holds a campaign's report against what was uploaded and what the simulator knows. */
import type { Recipient, ReportRow } from './campaign-calls.ts'
import type { SeenRequest, Stack } from './stack.ts'

/** What is known of a row beside the report. */
export interface Expected extends Recipient {
  /** Of its file. */
  line: number
  /** With which code the provider refuses it; absent: it takes it. */
  refusedWith?: string
}

const COLUMNS = [
  'line',
  'to',
  'reference',
  'id',
  'request_id',
  'state',
  'code',
  'reason',
  'attempts',
  'updated_at',
  'created_at',
  'first_attempt_at',
  'last_duration_ms',
]

const MOST_TOLD = 6

/**
 * @param resolved ids of messages that a person decided: their request ids may be unknown
 * @returns the first few faults, each with its history; none when all is true
 */
export async function untruthsOf(
  stack: Stack,
  rows: readonly ReportRow[],
  expected: readonly Expected[],
  resolved: ReadonlySet<string>,
): Promise<string[]> {
  if (rows.length !== expected.length) return [`${rows.length} rows for ${expected.length} recipients`]
  const requests = await stack.requests({ detail: 'false' })
  const byId = Map.groupBy(requests, ({ reference }) => reference)
  const untruths: string[] = []
  for (const [index, row] of rows.entries()) {
    const came = byId.get(row.id) ?? []
    byId.delete(row.id)
    const faults = faultsOf(row, expected[index]!, came, resolved.has(row.id))
    if (faults.length === 0) continue
    const { body: message } = await stack.call('GET', `/v1/messages/${row.id}`)
    untruths.push(`${row.to}: ${faults.join(', ')}: ${JSON.stringify({ row, message, came })}`)
    if (untruths.length === MOST_TOLD) return untruths
  }
  // Under an id that stands in no row, or in two.
  for (const [id, [first]] of byId) untruths.push(`no row is ${id}: ${JSON.stringify(first)}`)
  const taken = requests.filter(({ accepted }) => accepted)
  for (const [to, its] of Map.groupBy(taken, ({ recipient }) => recipient))
    if (its.length > 1) untruths.push(`${to} got it ${its.length} times: ${JSON.stringify(its)}`)
  if (new Set(rows.map(({ id }) => id)).size < rows.length) untruths.push('two rows have the same id')
  return untruths.slice(0, MOST_TOLD)
}

/** What is wrong with one row. */
function faultsOf(
  row: ReportRow,
  { to, reference, line, refusedWith }: Expected,
  came: SeenRequest[],
  wasResolved: boolean,
): string[] {
  const taken = came.filter(({ accepted }) => accepted)
  const refused = refusedWith !== undefined
  const { created_at: created, first_attempt_at: first, updated_at: updated } = row
  const rules: [boolean, string][] = [
    [Object.keys(row).join() === COLUMNS.join(), 'has other columns'],
    [row.to === to && row.line === line, `is not ${to} of line ${line}`],
    [row.reference === (reference ?? null), `has not the reference ${reference}`],
    [row.state === (refused ? 'failed' : 'submitted'), `is ${row.state}`],
    [taken.length === (refused ? 0 : 1), `was taken ${taken.length} times`],
    [!refused || row.code === refusedWith, `failed with ${row.code}`],
    [row.code !== null && row.reason !== null, 'does not say why'],
    [
      row.request_id === (taken[0]?.requestId ?? null) || (wasResolved && row.request_id === null),
      `has not the request id ${taken[0]?.requestId}`,
    ],
    [row.attempts >= Math.max(1, came.length), `has ${row.attempts} attempts of ${came.length}`],
    [Boolean(created && first && updated && created <= first && first <= updated), 'has strange times'],
  ]
  return rules.filter(([holds]) => !holds).map(([, fault]) => fault)
}
