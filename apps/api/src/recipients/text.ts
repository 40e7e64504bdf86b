import { isUtf8 } from 'node:buffer'
import { UnreadableFileError } from './rows.ts'

/** A stretch of text: whole characters of valid UTF-8, without a zero byte. */
export interface TextPiece {
  bytes: Buffer
  /** The line on which it begins. */
  line: number
}

// What is made of one piece is in memory at once.
const PIECE_BYTES = 64 * 1024
const NEWLINE = 0x0a

const UTF_16 = 'the file is UTF-16: save it as UTF-8'

/** What a file begins with that is no text in UTF-8, and what to do about it. */
const SIGNATURES: { bytes: (number | undefined)[]; message: string }[] = [
  { bytes: [0xff, 0xfe], message: UTF_16 },
  { bytes: [0xfe, 0xff], message: UTF_16 },
  // UTF-16 without its mark: every other byte of plain letters is zero.
  { bytes: [undefined, 0, undefined, 0], message: UTF_16 },
  { bytes: [0, undefined, 0, undefined], message: UTF_16 },
  { bytes: [0x1f, 0x8b], message: 'the file is gzip but was not sent as such: add Content-Encoding: gzip' },
  {
    bytes: [0x50, 0x4b, 0x03, 0x04],
    message: 'the file is a zip archive or a spreadsheet (.xlsx): export it as CSV in UTF-8',
  },
]
const SIGNATURE_BYTES = 4

/**
 * Cuts the bytes of a file into pieces of text.
 *
 * @throws {UnreadableFileError} at the line that is not UTF-8 text, after all that comes before that line; for an
 *   empty file; and what the chunks throw, with the line that was reached if any
 */
export async function* readText(chunks: AsyncIterable<Buffer>): AsyncGenerator<TextPiece> {
  let line = 1
  let begun = false
  let left: Buffer = Buffer.alloc(0)
  try {
    for await (const chunk of withoutMark(chunks)) {
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        const slice = chunk.subarray(at, at + PIECE_BYTES)
        const bytes = left.length > 0 ? Buffer.concat([left, slice]) : slice
        const end = endOfLastCharacter(bytes)
        left = bytes.subarray(end)
        const piece = { bytes: bytes.subarray(0, end), line }
        if (!isUtf8(piece.bytes) || piece.bytes.includes(0)) yield* refuse(piece)
        if (end > 0) yield piece
        begun = true
        line += countLines(piece.bytes, end)
      }
    }
  } catch (error) {
    if (!(error instanceof UnreadableFileError) || error.line !== undefined || !begun) throw error
    throw new UnreadableFileError(error.message, line)
  }
  if (left.length > 0) throw notText(left, line)
}

/** How many lines end within the first `end` bytes. */
export function countLines(bytes: Buffer, end: number): number {
  let lines = 0
  for (let at = bytes.indexOf(NEWLINE); at !== -1 && at < end; at = bytes.indexOf(NEWLINE, at + 1)) lines++
  return lines
}

/** Holds the first bytes until they tell what kind of file it is; drops the mark of UTF-8. */
async function* withoutMark(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head: Buffer | undefined = Buffer.alloc(0)
  for await (const chunk of chunks) {
    if (head === undefined) {
      yield chunk
      continue
    }
    head = Buffer.concat([head, chunk])
    if (head.length < SIGNATURE_BYTES) continue
    yield opened(head)
    head = undefined
  }
  if (head !== undefined) yield opened(head)
}

function opened(head: Buffer): Buffer {
  const signature = SIGNATURES.find(({ bytes }) =>
    bytes.every((byte, at) => (byte === undefined ? head[at] !== 0 : byte === head[at])),
  )
  if (signature) throw new UnreadableFileError(signature.message, 1)
  const marked = head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf
  const text = marked ? head.subarray(3) : head
  if (text.length === 0) throw new UnreadableFileError('the file is empty')
  return text
}

/** Where the last whole character ends: the bytes of one that continues in the next chunk are not in. */
function endOfLastCharacter(bytes: Buffer): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back]!
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back ? bytes.length - back : bytes.length
  }
  return bytes.length
}

/** Gives the lines before the one at fault, then throws: where the file breaks does not hang on how it was cut. */
function* refuse({ bytes, line }: TextPiece): Generator<TextPiece> {
  let from = 0
  let faulty = line
  for (;;) {
    const newline = bytes.indexOf(NEWLINE, from)
    const end = newline === -1 ? bytes.length : newline + 1
    const text = bytes.subarray(from, end)
    if (!isUtf8(text) || text.includes(0)) break
    from = end
    faulty++
  }
  if (from > 0) yield { bytes: bytes.subarray(0, from), line }
  throw notText(bytes.subarray(from), faulty)
}

function notText(bytes: Buffer, line: number): UnreadableFileError {
  const zero = bytes.indexOf(0)
  return new UnreadableFileError(
    zero !== -1 && isUtf8(bytes.subarray(0, zero))
      ? `line ${line} has a zero byte, as no text has: send a CSV or NDJSON file in UTF-8`
      : `line ${line} is not UTF-8: save the file as UTF-8 (it may be Latin-1, Windows-1252 or no text at all)`,
    line,
  )
}
