import type { Readable } from 'node:stream'
import { readBody } from './body.ts'
import { type Collected, collectRows } from './collected.ts'
import { createCsvReader } from './csv.ts'
import { createNdjsonReader } from './ndjson.ts'
import { type Batch, READ_LIMITS, type ReadLimits } from './rows.ts'
import { readText, type TextPiece } from './text.ts'

export {
  type Batch,
  READ_LIMITS,
  type ReadLimits,
  type RecipientRow,
  type RefusalReason,
  type RefusedRow,
  UnreadableFileError,
} from './rows.ts'

export interface ReadOptions {
  format: keyof typeof READERS
  gzip: boolean
  limits?: Partial<ReadLimits>
}

/** Turns text into rows as far as it goes; throws where it cannot go on, with all rows before that collected. */
export interface RowReader {
  read(piece: TextPiece): void
  /** The text breaks off here: collects the rows that were whole by then. */
  breakOff(): void
  /** The file ends here, and so does its last row. */
  end(): Promise<void>
}

const READERS = {
  csv: createCsvReader,
  ndjson: createNdjsonReader,
} satisfies Record<string, (collected: Collected, rowBytes: number) => RowReader>

/**
 * Reads a file of recipients in batches, in the order of the file and no faster than they are asked for. What is held
 * is a piece of text, a row and the batches made of them, whatever the size of the file.
 *
 * All rows before a fault are given before it is thrown. The body is never destroyed, read to its end or not: a
 * request still waits for its answer.
 *
 * @throws {UnreadableFileError} when the file cannot be read (on); what was given before it stays
 * @throws the body's own error when the upload breaks off; the row that it breaks off in is not given
 */
export async function* readRows(
  body: Readable,
  { format, gzip, limits: given }: ReadOptions,
): AsyncGenerator<Batch, void, void> {
  const limits = { ...READ_LIMITS, ...given }
  const collected = collectRows(limits.batchRows)
  const reader = READERS[format](collected, limits.rowBytes)
  const pieces = readText(readBody(body, gzip, limits))
  let fault: { error: unknown } | undefined
  try {
    for (let ended = false; !ended && !fault; ) {
      try {
        const next = await pieces.next().catch((error) => {
          reader.breakOff()
          throw error
        })
        ended = next.done === true
        if (next.done) await reader.end()
        else reader.read(next.value)
      } catch (error) {
        fault = { error }
      }
      yield* collected.take(ended || fault !== undefined)
    }
  } finally {
    await pieces.return(undefined)
  }
  if (fault) throw fault.error
}
