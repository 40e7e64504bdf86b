import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { parse } from 'csv-parse'
import type { ReportRow } from './campaign-checks.ts'

/** A campaign to be made, and whose it is. */
export interface CampaignExample {
  /** The body of `POST /v1/campaigns`. */
  request: { name: string; account: string }
  /** What its account sends as. */
  sender: string
}

/** Throws when there is no such account. */
export async function readExample(file: string, accountsFile: string): Promise<CampaignExample> {
  const request: CampaignExample['request'] = JSON.parse(await readFile(file, 'utf8'))
  const { accounts } = JSON.parse(await readFile(accountsFile, 'utf8'))
  const account = accounts.find(({ id }: { id: string }) => id === request.account)
  if (!account) throw new Error(`${file}: there is no account "${request.account}" in ${accountsFile}`)
  return { request, sender: account.sender }
}

/** How many rows a CSV has below its header, good or bad. */
export async function countRows(file: string): Promise<number> {
  let records = 0
  for await (const _ of createReadStream(file).pipe(parse({ relax_column_count: true, bom: true })))
    records += 1
  return records - 1
}

/** Reads a report as the API gives it in CSV. */
export async function readReport(file: string): Promise<ReportRow[]> {
  const rows: ReportRow[] = []
  for await (const row of createReadStream(file).pipe(parse({ columns: true }))) {
    const { to, state, attempts, first_attempt_at: firstAttemptAt } = row as Record<string, string>
    rows.push({
      to: to!,
      state: state!,
      attempts: Number(attempts),
      firstAttemptAt: firstAttemptAt ? Date.parse(firstAttemptAt) : undefined,
    })
  }
  return rows
}
