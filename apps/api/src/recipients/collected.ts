import type { Batch, RecipientRow, RefusalReason } from './rows.ts'

/** Rows on their way into batches. */
export interface Collected {
  accept(row: RecipientRow): void
  refuse(line: number, reason: RefusalReason, message: string): void
  /** The batches that are full; with `rest`, also the one that is not. */
  take(rest: boolean): Batch[]
}

export function collectRows(batchRows: number): Collected {
  let batch: Batch = { rows: [], refused: [] }
  let full: Batch[] = []
  const closeFull = () => {
    if (batch.rows.length + batch.refused.length < batchRows) return
    full.push(batch)
    batch = { rows: [], refused: [] }
  }
  return {
    accept(row) {
      batch.rows.push(row)
      closeFull()
    },
    refuse(line, reason, message) {
      batch.refused.push({ line, reason, message })
      closeFull()
    },
    take(rest) {
      const taken = full
      full = []
      if (rest && batch.rows.length + batch.refused.length > 0) {
        taken.push(batch)
        batch = { rows: [], refused: [] }
      }
      return taken
    },
  }
}
