/** Receipts: the rules (`PUT` replaces all, `POST` appends one), how they are sent, and what became of each. */
import { Readable } from 'node:stream'
import { z } from 'zod'
import type { World } from '../exchange.ts'
import type { LoggedReceipt, ReceiptLog } from '../receipts/log.ts'
import { receiptRuleSchema, senderSchema } from '../receipts/schema.ts'
import { providerNames } from '../systems/system.ts'
import type { TypedApp } from './typed.ts'

const replacement = z
  .strictObject({ rules: z.array(receiptRuleSchema).max(1000) })
  .superRefine(({ rules }, context) => {
    const ids = rules.flatMap(({ id }) => id ?? [])
    if (new Set(ids).size < ids.length)
      context.addIssue({ code: 'custom', path: ['rules'], message: 'ids must differ' })
  })

const filters = {
  provider: z.enum(providerNames).optional(),
  account: z.string().optional(),
  recipient: z.string().optional(),
  requestId: z.string().optional(),
  reference: z.string().optional(),
  status: z.string().optional(),
  state: z.enum(['pending', 'acknowledged', 'given-up', 'silent']).optional(),
}

const query = z.strictObject({
  ...filters,
  /** Only receipts behind this number: the `next` of the page before. */
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  format: z.enum(['json', 'ndjson']).optional(),
})
type Query = z.infer<typeof query>

const linesAtOnce = 500

export function receiptRoutes(app: TypedApp, { receipts }: World): void {
  const { rules, log } = receipts
  app.get('/simulator/receipt-rules', () => ({ rules: rules.list() }))

  app.put('/simulator/receipt-rules', { schema: { body: replacement } }, (request) => {
    rules.clear()
    for (const rule of request.body.rules) rules.add(rule)
    return { rules: rules.list() }
  })

  app.post('/simulator/receipt-rules', { schema: { body: receiptRuleSchema } }, async (request, reply) => {
    reply.code(201)
    return rules.add(request.body)
  })

  app.delete('/simulator/receipt-rules', (_request, reply) => {
    rules.clear()
    reply.code(204).send()
  })

  app.delete(
    '/simulator/receipt-rules/:id',
    { schema: { params: z.object({ id: z.string() }) } },
    (request, reply) => {
      if (rules.remove(request.params.id)) reply.code(204).send()
      else reply.code(404).send({ statusCode: 404, message: 'There is no such rule' })
    },
  )

  app.get('/simulator/receipt-sender', () => receipts.settings)
  app.put('/simulator/receipt-sender', { schema: { body: senderSchema } }, (request) => {
    receipts.settings = request.body
    return receipts.settings
  })

  app.get('/simulator/receipts/summary', () => ({ ...log.summary(), inFlight: receipts.inFlight }))

  app.get('/simulator/receipts', { schema: { querystring: query } }, (request, reply) => {
    const asked = request.query
    const wantsLines = request.headers.accept?.includes('application/x-ndjson')
    if ((asked.format ?? (wantsLines ? 'ndjson' : 'json')) === 'ndjson') {
      reply.type('application/x-ndjson').send(Readable.from(lines(log, asked), { objectMode: false }))
      return
    }
    const items: ReturnType<typeof view>[] = []
    let next: string | null = null
    for (const receipt of matching(log, asked)) {
      if (items.length === asked.limit) {
        next = String(items.at(-1)!.seq)
        break
      }
      items.push(view(receipt))
    }
    reply.send({ items, next })
  })

  // What is pending is never sent; rules stay.
  app.delete('/simulator/receipts', (_request, reply) => {
    receipts.clear()
    reply.code(204).send()
  })
}

function* matching(log: ReceiptLog, asked: Query): Generator<LoggedReceipt> {
  const wanted = (Object.keys(filters) as (keyof typeof filters)[]).filter(
    (name) => asked[name] !== undefined,
  )
  for (const receipt of log.from(asked.after + 1)) {
    if (wanted.every((name) => receipt[name] === asked[name])) yield receipt
  }
}

function* lines(log: ReceiptLog, asked: Query): Generator<string> {
  let lot: string[] = []
  for (const receipt of matching(log, asked)) {
    lot.push(JSON.stringify(view(receipt)))
    if (lot.length < linesAtOnce) continue
    yield `${lot.join('\n')}\n`
    lot = []
  }
  if (lot.length > 0) yield `${lot.join('\n')}\n`
}

function view({ target, together: _, code, message, ...receipt }: LoggedReceipt) {
  return { ...receipt, code: code ?? null, message: message ?? null, url: target.url || null }
}
