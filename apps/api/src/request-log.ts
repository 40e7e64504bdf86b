/** One line a request, and an id by which caller and operator mean the same one. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Logger, pino } from 'pino'

const prefix = randomBytes(6).toString('base64url')
let count = 0

/** Takes over the caller's `x-request-id` where it is a sane one. */
export function requestIdOf({ headers }: IncomingMessage): string {
  const given = headers['x-request-id']
  if (typeof given === 'string' && /^[\w.:/+=-]{1,128}$/.test(given)) return given
  return `${prefix}-${(++count).toString(36)}`
}

/** Errors as they may stand in a log: those of Redis hold the commands, and these hold messages and numbers. */
function tellableError(error: Error): Record<string, unknown> {
  const { name, message, stack } = error
  return { type: name, message, stack, code: (error as NodeJS.ErrnoException).code }
}

/** Lines are written beside the requests, not in their way; what is left is written when the process ends. */
export function createLogger(level: string): Logger {
  const options = { level, base: { process: 'api' }, serializers: { err: tellableError } }
  return pino(options, pino.destination({ dest: 1, sync: false, minLength: 16_000, periodicFlush: 500 }))
}

/** The route, not the address: that may hold a phone number or a reference. */
const routeOf = (request: FastifyRequest): string =>
  request.routeOptions.url ??
  request.url
    .split('?', 1)[0]!
    .slice(0, 100)
    .replace(/\d(?=\d{4})/g, '•')

declare module 'fastify' {
  interface FastifyContextConfig {
    /** There are thousands of these a second: those that went well are told at `debug` only. */
    quiet?: boolean
  }
}

/** The line; to be written when the answer is out. */
export function logRequest(request: FastifyRequest, reply: FastifyReply): void {
  const quiet = request.routeOptions.config.quiet && reply.statusCode < 400
  request.log[quiet ? 'debug' : 'info'](
    {
      method: request.method,
      route: routeOf(request),
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      key: request.caller?.name,
    },
    'request',
  )
}
