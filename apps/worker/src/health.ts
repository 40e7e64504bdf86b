/** The worker's own port: is it alive, is it ready, what has it counted. */
import { setTimeout as sleep } from 'node:timers/promises'
import { checkFitness } from '@wa-dispatch/dispatch'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import type { Registry } from 'prom-client'

/** How long Redis may take to answer before it counts as away. */
const REDIS_PATIENCE_MS = 2_000

async function silence(): Promise<never> {
  await sleep(REDIS_PATIENCE_MS, undefined, { ref: false })
  throw new Error('Redis does not answer')
}

export function buildHealth(
  redis: Redis,
  registry: Registry,
  /** `reasons`: why it is not ready although it is open. */
  { isOpen, reasons }: { isOpen: () => boolean; reasons: () => string[] },
): FastifyInstance {
  const app = Fastify({ logger: false, forceCloseConnections: true })
  app.get('/health/live', async () => ({ status: 'live' }))
  app.get('/health/ready', async (_request, reply) => {
    if (redis.status !== 'ready' || !isOpen()) {
      return reply.code(503).send({ status: 'not ready', redis: redis.status, reasons: [], unsafe: [] })
    }
    try {
      const fitness = await Promise.race([checkFitness(redis), silence()])
      const why = reasons()
      if (why.length > 0)
        return reply.code(503).send({ status: 'not ready', redis: 'ready', reasons: why, ...fitness })
      return { status: 'ready', redis: 'ready', reasons: [], ...fitness }
    } catch {
      return reply.code(503).send({ status: 'not ready', redis: 'silent', reasons: [], unsafe: [] })
    }
  })
  app.get('/metrics', async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  )
  return app
}
