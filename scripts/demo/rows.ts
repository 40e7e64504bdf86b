import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { type CsvError, parse } from 'csv-parse'

/** A row that could be read, filled into its template, on its way to the API. */
export interface Row {
  /** In the file; the header is line 1. */
  line: number
  /** The body of one message of `POST /v1/messages/batch`. The API judges it, not this program. */
  request: { account: string; to: string; reference: string; message: unknown }
  /** What the row lacks and the API cannot know of, for people: a variable, the template itself. */
  lacks?: string
}

/** A row that is no row: CSV itself does not allow it. */
export interface UnreadableRow {
  line: number
  why: string
}

/** A message object of the WhatsApp Cloud API, with `{{variable}}` in any of its strings. */
export type Templates = ReadonlyMap<string, unknown>

/** Reads message templates by name. Throws when the file is not a JSON object. */
export async function readTemplates(file: string): Promise<Templates> {
  return new Map(Object.entries(JSON.parse(await readFile(file, 'utf8'))))
}

/**
 * Reads a file of recipients piece by piece: columns `to`, `reference`, `account` and `message` (a template's
 * name), every other one a variable. Yields every row, in the file's order except that an unreadable one may
 * come a little early.
 */
export async function* readRows(file: string, templates: Templates): AsyncGenerator<Row | UnreadableRow> {
  const unreadable: UnreadableRow[] = []
  let lastLine = 0
  const parser = parse({
    bom: true,
    columns: true,
    info: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    on_skip: (error) => {
      const row = describe(error)
      // Two stray quotes in a line are two errors, but one row.
      if (row.line !== lastLine) unreadable.push(row)
      lastLine = row.line
      return undefined
    },
  })
  const source = createReadStream(file)
  source.on('error', (error) => parser.destroy(error))
  try {
    for await (const { info, record } of source.pipe(parser)) {
      yield* unreadable.splice(0)
      yield fill(info.lines, record, templates)
    }
    yield* unreadable
  } finally {
    source.destroy()
  }
}

function describe(error: CsvError | undefined): UnreadableRow {
  const line = Number(error?.lines ?? 0)
  // The parser's words without the line, which is told anyway, and without the value, which is somebody's name.
  const why = (error?.message ?? 'cannot be read')
    .replace(/,? (?:at|on) line \d+/, '')
    .replace(/, value is .*/s, '')
  return { line, why }
}

function fill(line: number, record: Record<string, string>, templates: Templates): Row {
  const { to = '', reference = '', account = '', message = '', ...variables } = record
  const template = templates.get(message)
  const missing = new Set<string>()
  const request = { account, to, reference, message: fillIn(template, variables, missing) }
  if (template === undefined) return { line, request, lacks: `there is no template "${message}"` }
  if (missing.size > 0) return { line, request, lacks: `the row has no ${[...missing].join(', ')}` }
  return { line, request }
}

/** A string that cannot be filled in is left out, so that the API says which field is required. */
function fillIn(template: unknown, variables: Record<string, string>, missing: Set<string>): unknown {
  if (Array.isArray(template)) return template.map((item) => fillIn(item, variables, missing))
  if (typeof template === 'object' && template !== null) {
    return Object.fromEntries(
      Object.entries(template).map(([key, value]) => [key, fillIn(value, variables, missing)]),
    )
  }
  if (typeof template !== 'string') return template
  let complete = true
  const text = template.replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = variables[name]
    if (value) return value
    missing.add(name)
    complete = false
    return ''
  })
  return complete ? text : undefined
}
