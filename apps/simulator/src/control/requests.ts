/** What came in: pages, a stream of everything, and sums. */
import { Readable } from 'node:stream'
import { z } from 'zod'
import type { World } from '../exchange.ts'
import type { RecordStore, StoredRecord } from '../records/store.ts'
import { summarise } from '../records/summary.ts'
import { viewRecord } from '../records/view.ts'
import { messageTypes, providerNames } from '../systems/system.ts'
import type { TypedApp } from './typed.ts'

const yesOrNo = z.enum(['true', 'false']).transform((value) => value === 'true')

const filters = {
  provider: z.enum(providerNames).optional(),
  account: z.string().optional(),
  recipient: z.string().optional(),
  type: z.enum(messageTypes).optional(),
  accepted: yesOrNo.optional(),
  code: z.string().optional(),
  requestId: z.string().optional(),
  reference: z.string().optional(),
}

const query = z.strictObject({
  ...filters,
  /** Only records behind this number: the `next` of the page before. */
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  /** Whether headers, body and answer are shown where they are still there. */
  detail: yesOrNo.default(true),
  format: z.enum(['json', 'ndjson']).optional(),
})

type Query = z.infer<typeof query>

/** Lines are handed to the stream in lots, so that a million of them are not a million writes. */
const linesAtOnce = 500

export function requestRoutes(app: TypedApp, { records }: World): void {
  app.get('/simulator/requests', { schema: { querystring: query } }, (request, reply) => {
    const asked = request.query
    const format =
      asked.format ?? (request.headers.accept?.includes('application/x-ndjson') ? 'ndjson' : 'json')
    if (format === 'ndjson') {
      reply.type('application/x-ndjson').send(Readable.from(lines(records, asked), { objectMode: false }))
      return
    }
    const items: unknown[] = []
    let next: number | null = null
    for (const record of matching(records, asked)) {
      if (items.length === asked.limit) {
        next = (items.at(-1) as { seq: number }).seq
        break
      }
      items.push(viewRecord(record, asked.detail))
    }
    reply.send({ items, next: next === null ? null : String(next) })
  })

  app.delete('/simulator/requests', (_request, reply) => {
    records.clear()
    reply.code(204).send()
  })

  app.get('/simulator/summary', () => summarise(records))
}

/** The kept records that fit, oldest first; those that come in meanwhile are left out. */
function* matching(records: RecordStore, asked: Query): Generator<StoredRecord> {
  const wanted = Object.entries(asked).filter(([name, value]) => name in filters && value !== undefined) as [
    keyof typeof filters,
    unknown,
  ][]
  const end = records.lastSeq
  for (let seq = Math.max(records.firstSeq, asked.after + 1); seq <= end; seq++) {
    const record = records.get(seq)
    if (record === undefined) continue
    if (wanted.every(([name, value]) => fits(record, name, value))) yield record
  }
}

function fits(record: StoredRecord, name: keyof typeof filters, value: unknown): boolean {
  if (name !== 'recipient' || !record.recipient?.includes(',')) return record[name] === value
  return record.recipient.split(',').includes(value as string)
}

function* lines(records: RecordStore, asked: Query): Generator<string> {
  let lot: string[] = []
  for (const record of matching(records, asked)) {
    lot.push(JSON.stringify(viewRecord(record, asked.detail)))
    if (lot.length < linesAtOnce) continue
    yield `${lot.join('\n')}\n`
    lot = []
  }
  if (lot.length > 0) yield `${lot.join('\n')}\n`
}
