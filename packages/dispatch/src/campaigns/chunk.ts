/**
 * How a campaign's rows lie in Redis: up to 512 together, column by column, compressed; about 20 bytes a row.
 *
 * A chunk is two bytes with the length of its head, the head (msgpack, written by scripts/store.lua), and the rows. A
 * row that was found to be a duplicate while it was stored keeps its place and is passed over. The row at index i has
 * the sequence number `first + i`, and by that its message id.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { unpack } from 'msgpackr'

/** Rows in a chunk at most; a multiple of the ledger's bucket, so that no bucket holds rows of two campaigns. */
export const CHUNK_ROWS = 512

/** A row as it is kept: values in the order of the template's variables. */
export interface CampaignRow {
  /** Of the upload, from 1. */
  line: number
  to: string
  reference?: string | undefined
  values: string[]
}

export interface Chunk {
  number: number
  /** Sequence number of its first row. */
  first: number
  /** By index; undefined for a duplicate. */
  rows: (CampaignRow | undefined)[]
}

/** Lines as differences, recipients as numbers, 0 for no reference, then a column for each variable. */
type Columns = [lines: number[], recipients: number[], references: (string | 0)[], ...values: string[][]]

/** The rows as text, from which a checksum can be made too. */
export function columnsOf(rows: CampaignRow[]): string {
  let before = 0
  const lines = rows.map(({ line }) => {
    const step = line - before
    before = line
    return step
  })
  const values = (rows[0]?.values ?? []).map((_, index) => rows.map((row) => row.values[index]!))
  const columns: Columns = [
    lines,
    rows.map(({ to }) => Number(to)),
    rows.map(({ reference }) => reference ?? 0),
    ...values,
  ]
  return JSON.stringify(columns)
}

/** At once: handing a fifth of a millisecond's work to another thread costs this one more. */
export const packColumns = (text: string): Buffer => deflateRawSync(text, { level: 1 })

/** @param stored the value in Redis */
export function unpackChunk(number: number, stored: Buffer): Chunk {
  const headLength = stored.readUInt16BE(0)
  // Beyond 2^32 a number is read as a bigint.
  const [first, ...duplicates] = (unpack(stored.subarray(2, 2 + headLength)) as (number | bigint)[]).map(
    Number,
  )
  const text = inflateRawSync(stored.subarray(2 + headLength))
  const [lines, recipients, references, ...values] = JSON.parse(text.toString()) as Columns
  const rows: Chunk['rows'] = []
  let line = 0
  for (const [index, step] of lines.entries()) {
    line += step
    const reference = references[index]
    rows.push({
      line,
      to: String(recipients[index]),
      ...(reference !== 0 && { reference }),
      values: values.map((column) => column[index]!),
    })
  }
  for (const index of duplicates) rows[index] = undefined
  return { number, first: first!, rows }
}
