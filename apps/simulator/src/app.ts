/** The simulator as a Fastify instance: five systems and the control API on one port. */
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { Accounts } from './accounts/accounts.ts'
import { fileSchema, type SimulatorFileInput } from './config.ts'
import { controlRoutes } from './control/routes.ts'
import { type Arrival, exchange, refuseUnread, report, resetBeforeBody, type World } from './exchange.ts'
import { DuplicateRuleError, Faults } from './faults/faults.ts'
import { ReceiptOutbox } from './receipts/outbox.ts'
import { ReceiptRules } from './receipts/rules.ts'
import { RecordStore } from './records/store.ts'
import { systems } from './systems/index.ts'
import type { Endpoint, System } from './systems/system.ts'
import { write } from './transport.ts'

export interface SimulatorOptions {
  /** What is there from the start and again after a reset. Throws where it does not fit. */
  file?: SimulatorFileInput
  /** Requests are logged at `debug` only. */
  logLevel?: string
}

declare module 'fastify' {
  interface FastifyRequest {
    arrivedAtMs: number
  }
}

const everyMethod = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Builds a simulator that does not listen yet. Closing it cuts every open connection. */
export function buildSimulator({ file = {}, logLevel = 'silent' }: SimulatorOptions = {}): FastifyInstance {
  const settings = fileSchema.parse(file)
  const world: World = {
    accounts: new Accounts(),
    faults: new Faults(settings.seed),
    records: new RecordStore(settings.keptRequests, settings.detailedRequests),
    receipts: new ReceiptOutbox(
      new ReceiptRules(settings.seed),
      settings.receiptSender,
      settings.keptReceipts,
    ),
  }
  const reset = (seed = settings.seed): void => {
    world.records.clear()
    world.accounts.clear()
    world.faults.clear(seed)
    for (const account of settings.accounts) world.accounts.put(account)
    for (const fault of settings.faults) world.faults.add(fault)
    world.receipts.clear()
    world.receipts.settings = settings.receiptSender
    world.receipts.rules.clear(seed)
    for (const rule of settings.receipts) world.receipts.rules.add(rule)
  }
  reset()

  const app = Fastify({
    logger: { level: logLevel },
    logController: new LogController({ disableRequestLogging: true }),
    // Requests that a fault left hanging would keep it open for ever.
    forceCloseConnections: true,
    return503OnClosing: false,
  })
  app.decorateRequest('arrivedAtMs', 0)
  app.addHook('onRequest', (request, _reply, done) => {
    request.arrivedAtMs = performance.timeOrigin + performance.now()
    done()
  })
  app.setErrorHandler((error: Error & { statusCode?: number }, _request, reply) => {
    const conflict = error instanceof DuplicateRuleError
    const statusCode = conflict ? 409 : (error.statusCode ?? 500)
    reply.code(statusCode).send({ statusCode, message: error.message })
  })
  app.setNotFoundHandler((request, reply) => {
    recordUnknown(world, request)
    reply.code(404).send({ statusCode: 404, message: `No system has ${request.method} ${request.url}` })
  })
  app.get('/health/live', () => ({ status: 'ok' }))
  app.register(controlRoutes, { world, reset })
  app.register(async (providers) => {
    takeBodiesAsText(providers)
    for (const system of Object.values<System>(systems)) {
      for (const endpoint of system.endpoints) serve(providers, world, system, endpoint)
    }
    serveReports(providers, world)
  })
  app.addHook('onClose', async () => world.receipts.close())
  return app
}

/** The documents' own words for a broken body can only be said where nobody else parses it. */
function takeBodiesAsText(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))
}

function serve(app: FastifyInstance, world: World, system: System, endpoint: Endpoint): void {
  app.route({
    method: everyMethod,
    url: endpoint.path,
    onRequest(request, reply, done) {
      if (!world.faults.watchesHeads || !resetBeforeBody(world, system, arrivalOf(request, reply))) {
        done()
        return
      }
      reply.hijack()
    },
    handler(request, reply) {
      const arrival = arrivalOf(request, reply)
      reply.hijack()
      exchange(world, system, endpoint, arrival)
      logExchange(request.log, system, request)
    },
    errorHandler(error, request, reply) {
      const arrival = arrivalOf(request, reply)
      reply.hijack()
      if (error.statusCode === undefined || error.statusCode >= 500) {
        request.log.error(error)
        write(arrival.response, system.errors.WA500?.() ?? system.errors['500']!())
      } else refuseUnread(world, system, arrival, error.message)
    },
  })
}

/** Zixflow is the one that can be asked. */
function serveReports(app: FastifyInstance, world: World): void {
  app.get('/api/data/messages/v1/delivery-report', (request, reply) => {
    const { request_id: requestId } = request.query as Record<string, unknown>
    reply.hijack()
    report(world, systems.zixflow, arrivalOf(request, reply), String(requestId ?? ''))
  })
}

function arrivalOf(request: FastifyRequest, reply: FastifyReply): Arrival {
  return {
    request: request.raw,
    response: reply.raw,
    parameters: request.params as Arrival['parameters'],
    body: request.body as string | undefined,
    arrivedAtMs: request.arrivedAtMs,
  }
}

function logExchange(log: FastifyBaseLogger, system: System, request: FastifyRequest): void {
  if (log.level === 'debug' || log.level === 'trace')
    log.debug({ provider: system.provider, path: request.url }, 'request')
}

/** A request for a path that no system has is worth finding again: its sender has the address wrong. */
function recordUnknown({ records }: World, request: FastifyRequest): void {
  if (request.url.startsWith('/simulator/')) return
  records.add({
    atMs: request.arrivedAtMs,
    provider: null,
    account: null,
    recipient: null,
    type: null,
    accepted: false,
    requestId: null,
    reference: null,
    fingerprint: 0,
    status: 404,
    code: 'unknown-path',
    detail: {
      method: request.method,
      path: request.url,
      rawHeaders: request.raw.rawHeaders,
      body: null,
      answerBody: null,
      answerHeaders: undefined,
      rule: undefined,
      reason: 'no system has this path',
    },
  })
}
