import { UnreadableFileError } from './rows.ts'

/** The columns of a CSV file. */
export interface CsvHeader {
  /** Of all columns, in their order. */
  names: string[]
  toAt: number
  /** -1 when there is none. */
  referenceAt: number
}

/** What some programs write between cells instead of a comma. */
const OTHER_DELIMITERS = [
  { delimiter: ';', name: 'semicolons' },
  { delimiter: '\t', name: 'tabs' },
  { delimiter: '|', name: 'vertical bars' },
]

export const BARE_CR = 'the lines end with a bare CR: save the file with LF or CRLF'
export const SENT_AS_CSV = 'the file is JSON but was sent as CSV: send it as application/x-ndjson'

// Enough to see what is wrong, for a header that may be as long as a row.
const SHOWN_CHARACTERS = 200

/**
 * Reads the names of the columns.
 *
 * @throws {UnreadableFileError} for a header that no row can be read by
 */
export function readHeader(record: string[], line: number): CsvHeader {
  const names = record.map((name) => name.trim())
  const fail = (message: string): never => {
    throw new UnreadableFileError(message, line)
  }
  if (record.some((name) => name.includes('\r'))) fail(BARE_CR)
  const toAt = names.indexOf('to')
  if (toAt === -1) fail(describeMissingTo(names))
  const empty = names.indexOf('')
  if (empty !== -1) fail(`column ${empty + 1} of the header has no name`)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) fail(`the header has the column ${quote(twice)} twice`)
  if (names.includes('__proto__')) fail('a column cannot be called __proto__')
  return { names, toAt, referenceAt: names.indexOf('reference') }
}

function describeMissingTo(names: string[]): string {
  const text = names.join(',')
  if (text.startsWith('{')) return SENT_AS_CSV
  const other = OTHER_DELIMITERS.find(({ delimiter }) => text.includes(delimiter))
  if (other) return `the cells are separated by ${other.name}: separate them by commas`
  return `no column "to" in the header; it has ${quote(text)}`
}

function quote(text: string): string {
  return JSON.stringify(text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text)
}
