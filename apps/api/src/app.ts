/** Puts the API together from what it is given. Nothing here reads the environment or listens. */
import type { Socket } from 'node:net'
import rateLimit from '@fastify/rate-limit'
import Fastify, {
  type FastifyInstance,
  LogController,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
} from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { Logger } from 'pino'
import { authenticate } from './auth.ts'
import type { ApiKey } from './config.ts'
import { dashboard } from './dashboard/dashboard.ts'
import { createMetrics, metricsRoute } from './metrics.ts'
import { describe, documentationRoutes } from './openapi.ts'
import type { PostBackGate } from './post-back-gate.ts'
import { asProblem, Problem, sendProblem } from './problems.ts'
import { logRequest, requestIdOf } from './request-log.ts'
import { accountRoutes } from './routes/accounts/index.ts'
import { campaignRoutes } from './routes/campaigns/index.ts'
import { healthRoutes } from './routes/health/index.ts'
import { messageRoutes } from './routes/messages/index.ts'
import { postBackRoutes } from './routes/post-backs/index.ts'
import { receiptRoutes } from './routes/receipts/index.ts'
import { securityHeaders } from './security-headers.ts'
import type { Storage } from './storage.ts'
import { refuseUnknownRoutes } from './unknown-routes.ts'
import { serializerCompiler, validatorCompiler } from './validation.ts'

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  Logger,
  ZodTypeProvider
>

export interface AppOptions {
  log: Logger
  storage: Storage
  keys: ApiKey[]
  /** False: whoever reaches the port may do everything. */
  authenticates: boolean
  postBacks: PostBackGate
  /** 24 when absent. */
  reconcileAfterHours?: number
  /** For each key, or each address where no key is asked for. */
  requestsPerSecond: number
  version?: string
  timeouts?: Partial<typeof TIMEOUTS>
}

const BODY_BYTES = 1_048_576
/** Milliseconds. */
const TIMEOUTS = {
  /** A request has to arrive within this; a frozen Redis is given up much earlier. */
  requestMs: 30_000,
  /** How often it is looked for requests that do not. */
  lookMs: 10_000,
  /** An upload may take as long as it needs, but not stand still for longer. */
  uploadIdleMs: 30_000,
}

/** @returns the application, ready to `inject` or `listen` */
export async function buildApp(options: AppOptions): Promise<App> {
  const { log, storage, keys, authenticates, postBacks, requestsPerSecond, version = '0.1.0' } = options
  const { reconcileAfterHours = 24 } = options
  const { requestMs, lookMs, uploadIdleMs } = { ...TIMEOUTS, ...options.timeouts }
  const long = new WeakSet<Socket>()
  const app: App = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    genReqId: requestIdOf,
    bodyLimit: BODY_BYTES,
    requestTimeout: requestMs,
    // Node swaps the two limits where the one for the headers is the longer one; its own is a minute.
    http: { headersTimeout: requestMs, connectionsCheckingInterval: lookMs },
    // Refusals of the framework that happen before any route is known.
    frameworkErrors: (error, request, reply) =>
      void sendProblem(reply.header('x-request-id', request.id) as never, asProblem(error)),
    clientErrorHandler(error, socket) {
      // Node lets whoever listens decide; it says it once a request.
      if (error.code !== REQUEST_TIMEOUT || !long.has(socket)) refuseBytes(error, socket)
    },
  }).withTypeProvider<ZodTypeProvider>()

  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.removeContentTypeParser('text/plain')
  app.setErrorHandler((error, request, reply) => {
    const problem = asProblem(error)
    if (problem.statusCode >= 500)
      request.log[problem.problem === 'internal' ? 'error' : 'warn']({ err: error }, 'failed')
    return sendProblem(reply, problem)
  })

  const headers = await securityHeaders()
  const metrics = createMetrics(storage)
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(headers.data).header('x-request-id', request.id)
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    logRequest(request, reply)
    metrics.request(request, reply)
    done()
  })
  await describe(app, version)
  await app.register(rateLimit, {
    global: true,
    max: requestsPerSecond,
    timeWindow: 1_000,
    keyGenerator: (request) => request.caller?.name ?? request.ip,
    addHeadersOnExceeding: {
      'x-ratelimit-limit': false,
      'x-ratelimit-remaining': false,
      'x-ratelimit-reset': false,
    },
    errorResponseBuilder: (_request, { ttl }) =>
      new Problem('too-many-requests', `This key may make ${requestsPerSecond} requests a second.`, {
        retryAfterSeconds: Math.max(1, Math.ceil(ttl / 1000)),
      }),
  })
  authenticate(app, { keys, authenticates })
  refuseUnknownRoutes(app)

  messageRoutes(app, { storage, metrics, postBacks })
  campaignRoutes(app, { storage, metrics, postBacks, reconcileAfterHours }, { long, idleMs: uploadIdleMs })
  accountRoutes(app, { storage })
  receiptRoutes(app, { storage })
  postBackRoutes(app, { storage })
  healthRoutes(app, { storage })
  metricsRoute(app, metrics)
  await documentationRoutes(app, headers.docs)
  await app.register(dashboard, { storage, keys, authenticates, headers: headers.dashboard })
  await app.ready()
  return app
}

/** What is not HTTP at all, or too much of it, gets no reply object. */
function refuseBytes(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const status = STATUS_OF_BYTES[error.code ?? ''] ?? '400 Bad Request'
  const body = JSON.stringify({
    type: 'urn:wa-dispatch:problem:invalid-request',
    title: status.slice(4),
    status: Number(status.slice(0, 3)),
    detail: 'This is no HTTP request that can be read.',
  })
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}

const REQUEST_TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT'
const STATUS_OF_BYTES: Record<string, string> = {
  [REQUEST_TIMEOUT]: '408 Request Timeout',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
}
