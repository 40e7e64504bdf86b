import type { Collected } from './collected.ts'
import { acceptTo, describeToFault, isReference, REFERENCE_FAULT } from './fields.ts'
import type { RowReader } from './read-rows.ts'
import { type RecipientRow, type RefusalReason, UnreadableFileError } from './rows.ts'
import type { TextPiece } from './text.ts'

const NEWLINE = 0x0a

/** One JSON object a line. A line that is too long is refused and passed over without being kept. */
export function createNdjsonReader(collected: Collected, rowBytes: number): RowReader {
  let begun: Buffer[] = []
  let begunBytes = 0
  let line = 1
  let rows = 0

  function readLine(text: string): void {
    const here = line++
    if (isBlank(text)) return
    if (rows++ === 0) refuseOtherFormats(text, here)
    const read = readObject(text, here)
    if ('reason' in read) collected.refuse(here, read.reason, read.message)
    else collected.accept(read)
  }

  function refuseLong(): void {
    rows++
    collected.refuse(line++, 'line_too_long', `the line is longer than ${rowBytes} bytes`)
  }

  function keep(bytes: Buffer): void {
    begunBytes += bytes.length
    if (begunBytes > rowBytes) begun = []
    else if (bytes.length > 0) begun.push(bytes)
  }

  function endLine(): void {
    if (begunBytes > rowBytes) refuseLong()
    else readLine(Buffer.concat(begun).toString())
    begun = []
    begunBytes = 0
  }

  return {
    read({ bytes }: TextPiece) {
      const first = bytes.indexOf(NEWLINE)
      if (first === -1) return keep(bytes)
      keep(bytes.subarray(0, first))
      endLine()
      const last = bytes.lastIndexOf(NEWLINE)
      if (last > first) {
        for (const text of bytes.toString('utf8', first + 1, last).split('\n')) {
          // UTF-8 takes at most three bytes a UTF-16 unit: most lines need no counting.
          if (text.length * 3 > rowBytes && Buffer.byteLength(text) > rowBytes) refuseLong()
          else readLine(text)
        }
      }
      keep(bytes.subarray(last + 1))
    },
    breakOff() {},
    async end() {
      if (begunBytes > 0) endLine()
      if (rows === 0) throw new UnreadableFileError('the file is empty: it has only blank lines')
    },
  }
}

function isBlank(text: string): boolean {
  return text.charCodeAt(0) !== 0x7b && text.trim() === ''
}

/** A file of another kind would be refused row by row, a million times. */
function refuseOtherFormats(text: string, line: number): void {
  const begin = text.trimStart()
  if (begin.startsWith('[')) {
    throw new UnreadableFileError(
      'the file is a JSON array: write one object a line, without commas between',
      line,
    )
  }
  if (!begin.startsWith('{') && /(^|[,;\t|])\s*"?to"?\s*([,;\t|]|$)/.test(text)) {
    throw new UnreadableFileError('the file is CSV but was sent as NDJSON: send it as text/csv', line)
  }
}

type Refusal = { reason: RefusalReason; message: string }
const refusal = (reason: RefusalReason, message: string): Refusal => ({ reason, message })

function readObject(text: string, line: number): RecipientRow | Refusal {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return refusal('json', `not JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refusal('json', 'not a JSON object')
  }
  for (const field in value) {
    if (field !== 'to' && field !== 'variables' && field !== 'reference') {
      return refusal('fields', `unknown field ${JSON.stringify(field)}: there are to, variables, reference`)
    }
  }
  const given = value as { to?: unknown; variables?: unknown; reference?: unknown }
  const to = acceptTo(given.to)
  if (to === undefined) return refusal('to', describeToFault(given.to))
  if (given.reference !== undefined && !isReference(given.reference)) {
    return refusal('reference', REFERENCE_FAULT)
  }
  const variables = given.variables === undefined ? {} : readVariables(given.variables, text)
  if (typeof variables === 'string') return refusal('variables', variables)
  return given.reference === undefined
    ? { line, to, variables }
    : { line, to, reference: given.reference, variables }
}

/** The variables as strings, or in words why not. */
function readVariables(given: unknown, text: string): Record<string, string> | string {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    return 'variables is not an object of strings'
  }
  let othersThanStrings = false
  for (const name in given) {
    const value = (given as Record<string, unknown>)[name]
    if (name === '__proto__') return 'a variable cannot be called __proto__'
    if (typeof value === 'string') continue
    if (typeof value !== 'number' && typeof value !== 'boolean') {
      return `the variable ${JSON.stringify(name)} is not a string, a number or a boolean`
    }
    othersThanStrings = true
  }
  return othersThanStrings ? readAsWritten(text) : (given as Record<string, string>)
}

/** Numbers as they are written: 1.50 keeps its zero, and an id beyond 2^53 its last digits. */
function readAsWritten(text: string): Record<string, string> {
  const asWritten = (_name: string, value: unknown, context?: { source: string }) =>
    typeof value === 'number' || typeof value === 'boolean' ? (context?.source ?? String(value)) : value
  return JSON.parse(text, asWritten as Parameters<typeof JSON.parse>[1]).variables
}
