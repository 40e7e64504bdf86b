import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import {
  type ReadOptions,
  type RecipientRow,
  type RefusedRow,
  readRows,
  type UnreadableFileError,
} from './read-rows.ts'

/** All that reading a file gave, and what it ended with. */
export interface Outcome {
  rows: RecipientRow[]
  refused: RefusedRow[]
  fault?: UnreadableFileError
}

/** A stream of a file in chunks of so many bytes. */
export function streamOf(file: Buffer | string, chunkBytes = Number.POSITIVE_INFINITY): Readable {
  const bytes = Buffer.from(file)
  return Readable.from(
    (function* () {
      for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes)
    })(),
  )
}

/** Reads a stream to its end or its fault. */
export async function readAll(body: Readable, options: ReadOptions): Promise<Outcome> {
  const outcome: Outcome = { rows: [], refused: [] }
  try {
    for await (const batch of readRows(body, options)) {
      outcome.rows.push(...batch.rows)
      outcome.refused.push(...batch.refused)
    }
  } catch (error) {
    outcome.fault = error as UnreadableFileError
  }
  return outcome
}

const CHUNK_BYTES = [1, 2, 3, 7, Number.POSITIVE_INFINITY]

/** What a file gives, plain and as gzip, each cut in several ways: they must all be the same. */
export async function readEveryWay(
  file: Buffer | string,
  options: Omit<ReadOptions, 'gzip'>,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  for (const chunkBytes of CHUNK_BYTES) {
    outcomes.push(await readAll(streamOf(file, chunkBytes), { ...options, gzip: false }))
    outcomes.push(await readAll(streamOf(gzipSync(file), chunkBytes), { ...options, gzip: true }))
  }
  return outcomes
}
