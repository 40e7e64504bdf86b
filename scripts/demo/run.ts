import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ApiClient, Result } from './client.ts'
import type { Progress } from './progress.ts'
import { type Row, readRows, type Templates } from './rows.ts'
import { isOpen, type Tally } from './tally.ts'

export interface RunOptions {
  api: ApiClient
  /** The CSV file. */
  file: string
  templates: Templates
  /** Where the caller wants to be told what becomes of each. */
  postBackUrl: string
  progress: Progress
  signal: AbortSignal
}

/** The API takes up to 1,000; smaller ones let a viewer see them go in. */
const batchSize = 50
const pollEveryMs = 200
/** Where something hangs, the run ends and its sums say so. */
const longestRunMs = 120_000

/** Sends every row of the file, and watches until nothing more will happen by itself. */
export async function run({
  api,
  file,
  templates,
  postBackUrl,
  progress,
  signal,
}: RunOptions): Promise<Tally> {
  const tally: Tally = { rows: 0, refused: [], accepted: [], views: new Map(), durationMs: 0 }
  const startedAt = performance.now()

  let batch: Row[] = []
  for await (const row of readRows(file, templates)) {
    tally.rows += 1
    if ('why' in row) {
      tally.refused.push({ line: row.line, by: 'CSV', why: row.why })
      continue
    }
    batch.push(row)
    if (batch.length < batchSize) continue
    await sendBatch(batch)
    batch = []
  }
  if (batch.length > 0) await sendBatch(batch)
  tally.refused.sort((a, b) => a.line - b.line)

  for (;;) {
    await refresh()
    const open = [...tally.views.values()].some(isOpen)
    if (!open || performance.now() - startedAt > longestRunMs) break
    await sleep(pollEveryMs, undefined, { signal })
  }
  tally.durationMs = performance.now() - startedAt
  return tally

  async function sendBatch(rows: Row[]): Promise<void> {
    const results = await api.send(rows, `demo-${randomUUID()}`, postBackUrl)
    for (const [index, row] of rows.entries()) note(row, results[index]!)
    await refresh()
  }

  function note({ line, request, lacks }: Row, result: Result): void {
    if (result.error !== undefined) {
      const { detail } = result.error
      tally.refused.push({ line, by: 'API', why: lacks ? `${detail} (${lacks})` : detail })
      return
    }
    const { type } = request.message as { type: string }
    const to = request.to.replace('+', '')
    tally.accepted.push({ line, id: result.id, account: request.account, to, type })
  }

  /** Asks only for what may have changed. */
  async function refresh(): Promise<void> {
    const open = tally.accepted.filter(({ id }) => {
      const view = tally.views.get(id)
      return !view || isOpen(view)
    })
    for (const view of await api.messages(open.map(({ id }) => id))) tally.views.set(view.id, view)
    progress.show(tally)
  }
}
