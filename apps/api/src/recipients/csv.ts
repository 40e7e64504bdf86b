/**
 * CSV by csv-parse, fed piece by piece and emptied at once: 1.1 million records a second that way, 0.9 million by
 * `for await`. uDSV (8 million) loses rows after a quote that is not closed and says nothing; Papa Parse (4.5 million)
 * reads on, and the class of it that takes pieces is not documented. csv-parse stops, and says where.
 */
import { type CsvError, type Parser, parse } from 'csv-parse'
import type { Collected } from './collected.ts'
import { BARE_CR, type CsvHeader, readHeader, SENT_AS_CSV } from './csv-header.ts'
import { acceptTo, describeToFault, isReference, REFERENCE_FAULT } from './fields.ts'
import type { RowReader } from './read-rows.ts'
import { UnreadableFileError } from './rows.ts'
import { countLines, type TextPiece } from './text.ts'

const LOOK_AHEAD_BYTES = 4
const QUOTE = 0x22
const COMMA = 0x2c
const CARRIAGE_RETURN = 0x0d
const OPENING_BRACE = 0x7b

/**
 * RFC 4180: a header, then rows. A row with too many or too few cells is refused and reading goes on; a quote that is
 * not closed or a row that is too long ends it, for nobody can know where the next row begins.
 */
export function createCsvReader(collected: Collected, rowBytes: number): RowReader {
  const parser = parse({
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    max_record_size: rowBytes,
  })
  // It is looked at after each piece; without a listener it would end the process.
  parser.on('error', () => {})
  const places = trackPlaces(parser)
  let header: CsvHeader | undefined
  let line = 1
  let quotes = false
  let rows = 0
  let startsAsJson: boolean | undefined
  let returnsInHeader = false

  function readRecord(record: string[]): void {
    const here = line++
    if (quotes) line += countNewlines(record)
    if (record.length === 1 && record[0] === '') return
    if (header === undefined) header = readHeader(record, here)
    else {
      rows++
      readRow(header, record, here, collected)
    }
  }

  function readParsed(): void {
    for (let record = parser.read(); record !== null; record = parser.read()) readRecord(record)
    refuseErrors()
  }

  function refuseErrors(): void {
    if (!parser.errored) return
    if (header === undefined && startsAsJson) throw new UnreadableFileError(SENT_AS_CSV, line)
    const error = parser.errored as CsvError
    if (header === undefined && returnsInHeader && error.code === 'CSV_MAX_RECORD_SIZE') {
      throw new UnreadableFileError(BARE_CR, line)
    }
    throw explain(error, line, places.cell(), rowBytes)
  }

  return {
    read(piece) {
      quotes ||= piece.bytes.includes(QUOTE)
      startsAsJson ??= piece.bytes[0] === OPENING_BRACE
      if (header === undefined) returnsInHeader ||= piece.bytes.includes(CARRIAGE_RETURN)
      places.add(piece)
      parser.write(piece.bytes)
      readParsed()
      places.forget()
    },
    breakOff() {
      // csv-parse looks a few bytes ahead: it is given some, so that it gives the row before them.
      parser.write(' '.repeat(LOOK_AHEAD_BYTES))
      for (let record = parser.read(); record !== null; record = parser.read()) readRecord(record)
    },
    async end() {
      parser.end()
      readParsed()
      // What it has not done by then it does before it ends.
      try {
        for await (const record of parser) readRecord(record)
      } finally {
        refuseErrors()
      }
      if (header === undefined) throw new UnreadableFileError('the file is empty: it has only blank lines')
      if (rows === 0) throw new UnreadableFileError('the file has a header and no rows', line)
    },
  }
}

function readRow(header: CsvHeader, record: string[], line: number, collected: Collected): void {
  const { names, toAt, referenceAt } = header
  if (record.length !== names.length) {
    collected.refuse(line, 'columns', `${record.length} cells where the header has ${names.length} columns`)
    return
  }
  const to = acceptTo(record[toAt])
  if (to === undefined) {
    collected.refuse(line, 'to', describeToFault(record[toAt]))
    return
  }
  const variables: Record<string, string> = {}
  for (let at = 0; at < names.length; at++) {
    if (at !== toAt && at !== referenceAt) variables[names[at]!] = record[at]!
  }
  const reference = referenceAt === -1 ? '' : record[referenceAt]!
  if (reference === '') collected.accept({ line, to, variables })
  else if (isReference(reference)) collected.accept({ line, to, reference, variables })
  else collected.refuse(line, 'reference', REFERENCE_FAULT)
}

function countNewlines(record: string[]): number {
  let newlines = 0
  for (const cell of record) {
    for (let at = cell.indexOf('\n'); at !== -1; at = cell.indexOf('\n', at + 1)) newlines++
  }
  return newlines
}

interface Cell {
  line: number
  quoted: boolean
}

/** Where the parser stands in the file. */
interface Places {
  add(piece: TextPiece): void
  forget(): void
  /** The line of the cell that is being read, and whether it begins with a quote. */
  cell(): Cell | undefined
}

/**
 * csv-parse says in `info.bytes` where the last whole cell ended. The pieces since then are kept, which are no more
 * than a row and a piece, to find the line of the cell after it.
 */
function trackPlaces(parser: Parser): Places {
  let from = 0
  let kept: TextPiece[] = []
  const byteAt = (offset: number): { piece: TextPiece; at: number } | undefined => {
    let begin = from
    for (const piece of kept) {
      if (offset < begin + piece.bytes.length) return { piece, at: offset - begin }
      begin += piece.bytes.length
    }
    return undefined
  }
  return {
    add(piece) {
      kept.push(piece)
    },
    forget() {
      let passed = 0
      while (passed < kept.length && from + kept[passed]!.bytes.length <= parser.info.bytes) {
        from += kept[passed++]!.bytes.length
      }
      if (passed > 0) kept = kept.slice(passed)
    },
    cell() {
      let place = byteAt(parser.info.bytes)
      if (place?.piece.bytes[place.at] === COMMA) place = byteAt(parser.info.bytes + 1)
      if (place === undefined) return undefined
      const { piece, at } = place
      return { line: piece.line + countLines(piece.bytes, at), quoted: piece.bytes[at] === QUOTE }
    },
  }
}

/** What to do about a file that csv-parse gave up; `line` is where the row begins. */
function explain(
  error: CsvError,
  line: number,
  cell: Cell | undefined,
  rowBytes: number,
): UnreadableFileError {
  const inQuotes = cell?.quoted ? cell.line : line
  switch (error.code) {
    case 'CSV_QUOTE_NOT_CLOSED':
      return new UnreadableFileError(`the quote that opens on line ${inQuotes} is never closed`, inQuotes)
    case 'CSV_INVALID_CLOSING_QUOTE':
      return new UnreadableFileError(
        `the quote that opens on line ${inQuotes} is not closed before a comma or the end of a line: close it, and write a quote inside a cell twice`,
        inQuotes,
      )
    case 'INVALID_OPENING_QUOTE':
      return new UnreadableFileError(
        `a quote in the middle of a cell on line ${line}: put the whole cell in quotes and write the quote in it twice`,
        line,
      )
    case 'CSV_MAX_RECORD_SIZE':
      return cell?.quoted
        ? new UnreadableFileError(
            `the quote that opens on line ${inQuotes} is not closed within ${rowBytes} bytes`,
            inQuotes,
          )
        : new UnreadableFileError(`the row on line ${line} is longer than ${rowBytes} bytes`, line)
    default:
      return new UnreadableFileError(error.message, line)
  }
}
