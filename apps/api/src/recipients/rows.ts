/**
 * What reading a file of campaign recipients gives.
 *
 * - line: the physical line of the file on which a row begins; the first line is 1, a CSV header counts.
 * - refused: the row does not fit by itself; the rows after it are read all the same.
 * - unreadable: nothing after this place can be read; what was given before it stays.
 */

/** A row that fits by itself. */
export interface RecipientRow {
  line: number
  /** E.164 digits, without `+`. */
  to: string
  reference?: string
  variables: Record<string, string>
}

/** Why a row was refused: short stable words, for counting. */
export type RefusalReason = 'to' | 'reference' | 'variables' | 'columns' | 'fields' | 'json' | 'line_too_long'

/** A row that does not fit. */
export interface RefusedRow {
  line: number
  message: string
  reason: RefusalReason
}

/** A stretch of the file; rows and refused rows each in the order of the file. */
export interface Batch {
  rows: RecipientRow[]
  refused: RefusedRow[]
}

/** The file cannot be read (on). Everything in the batches before it stays as it was given. */
export class UnreadableFileError extends Error {
  override name = 'UnreadableFileError'
  readonly line: number | undefined

  constructor(message: string, line?: number) {
    super(message)
    this.line = line
  }
}

/** How much of a file is taken at a time and at most. */
export interface ReadLimits {
  /** Rows, refused ones included, in one batch. */
  batchRows: number
  /** Bytes of one row. */
  rowBytes: number
  /** Bytes of a gzip file once inflated. */
  inflatedBytes: number
  /** Inflated bytes for one compressed byte, looked at once `inflatedBytesBeforeRatio` are exceeded. */
  inflationRatio: number
  inflatedBytesBeforeRatio: number
}

export const READ_LIMITS: ReadLimits = {
  batchRows: 500,
  rowBytes: 64 * 1024,
  inflatedBytes: 2 * 1024 ** 3,
  // Deflate itself ends at 1,032 to 1; a list of recipients gets to about 10.
  inflationRatio: 200,
  inflatedBytesBeforeRatio: 16 * 1024 ** 2,
}
