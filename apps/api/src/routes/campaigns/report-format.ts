/** A campaign's report in its forms: what stands in a row, and how rows are written. */
import { type MessageRecord, type ReportedRow, STATES } from '@wa-dispatch/dispatch'
import { stringify } from 'csv-stringify/sync'
import { z } from 'zod'

const time = z.iso.datetime().nullable()

/** One recipient; null, or nothing in CSV, where there is nothing to say. */
export const reportRowSchema = z.object({
  line: z.int().meta({ description: 'Of the upload, from 1' }),
  to: z.string(),
  reference: z.string().nullable(),
  id: z.string().meta({ description: 'The message’s, also while the row is none yet' }),
  request_id: z.string().nullable(),
  state: z.enum(STATES),
  code: z.string().nullable().meta({ description: 'Of the error; without one, of the last attempt' }),
  reason: z.string().nullable().meta({
    description: 'The error in words; without one, the outcome of the last attempt',
  }),
  attempts: z.int(),
  updated_at: time,
  created_at: time.meta({ description: 'When the row became a message' }),
  first_attempt_at: time,
  last_duration_ms: z.int().nullable().meta({ description: 'How long the last attempt took' }),
})
type ReportRow = z.infer<typeof reportRowSchema>
const COLUMNS = Object.keys(reportRowSchema.shape) as (keyof ReportRow)[]

export interface ReportFormat {
  /** The content type without its parameters. */
  type: string
  contentType: string
  extension: string
  /** Before all rows. */
  head: string
  write(rows: ReportedRow[]): string
}

const csvLines = (lines: unknown[][]): string => stringify(lines, { record_delimiter: 'windows' })

/** The first one is for who does not mind. */
export const REPORT_FORMATS: readonly ReportFormat[] = [
  {
    type: 'text/csv',
    contentType: 'text/csv; charset=utf-8; header=present',
    extension: 'csv',
    head: csvLines([COLUMNS]),
    write: (rows) =>
      csvLines(
        rows.map((row) => {
          const shown = reportRowOf(row)
          return COLUMNS.map((column) => harmless(shown[column]))
        }),
      ),
  },
  {
    type: 'application/x-ndjson',
    contentType: 'application/x-ndjson; charset=utf-8',
    extension: 'ndjson',
    head: '',
    write: (rows) => rows.map((row) => `${JSON.stringify(reportRowOf(row))}\n`).join(''),
  },
]

/** What spreadsheets take for the beginning of a formula, in full-width characters too, or pass over before one. */
const FORMULA = /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/
const PLAIN_NUMBER = /^[+-]?\d+(?:[.,]\d+)?$/

/** A cell that a spreadsheet would run gets the apostrophe that makes it a text. */
function harmless(cell: string | number | null): string | number | null {
  return typeof cell === 'string' && FORMULA.test(cell) && !PLAIN_NUMBER.test(cell) ? `'${cell}` : cell
}

const instant = (milliseconds: number | undefined) =>
  milliseconds === undefined ? null : new Date(milliseconds).toISOString()

function reportRowOf({ line, to, reference, id, state, message }: ReportedRow): ReportRow {
  const { attempts = [], requestId, error, updatedAt, createdAt }: Partial<MessageRecord> = message ?? {}
  const last = attempts.findLast(({ outcome }) => outcome !== undefined)
  return {
    line,
    to,
    reference: reference ?? null,
    id: id.text,
    request_id: requestId ?? null,
    state,
    code: error?.code ?? last?.code ?? null,
    reason: error?.message ?? last?.outcome ?? null,
    attempts: attempts.length,
    updated_at: instant(updatedAt),
    created_at: instant(createdAt),
    first_attempt_at: instant(attempts[0]?.at),
    last_duration_ms: last?.durationMs ?? null,
  }
}

/**
 * @param accept the header; absent: anything will do
 * @returns the form that the caller likes best, undefined when it takes none of them (RFC 9110, section 12.5.1)
 */
export function chooseFormat(accept: string | undefined): ReportFormat | undefined {
  const ranges = (accept?.trim() || '*/*').split(',').map(readRange)
  let best: { format: ReportFormat; quality: number } | undefined
  for (const format of REPORT_FORMATS) {
    const wildcards = [format.type, `${format.type.split('/')[0]}/*`, '*/*']
    const range = wildcards.map((type) => ranges.find((range) => range.type === type)).find(Boolean)
    const quality = range?.quality ?? 0
    if (quality > (best?.quality ?? 0)) best = { format, quality }
  }
  return best?.format
}

function readRange(range: string): { type: string; quality: number } {
  const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
  const quality = parameters.find((parameter) => parameter.startsWith('q='))
  return { type, quality: quality === undefined ? 1 : Number(quality.slice(2)) || 0 }
}
