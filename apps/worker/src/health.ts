/** The worker's own port: is it alive, is it ready, what has it counted. */
import { checkFitness } from '@wa-dispatch/dispatch'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import type { Registry } from 'prom-client'

export function buildHealth(redis: Redis, registry: Registry, isOpen: () => boolean): FastifyInstance {
  const app = Fastify({ logger: false, forceCloseConnections: true })
  app.get('/health/live', async () => ({ status: 'live' }))
  app.get('/health/ready', async (_request, reply) => {
    if (redis.status !== 'ready' || !isOpen()) {
      return reply.code(503).send({ status: 'not ready', redis: redis.status, unsafe: [] })
    }
    const fitness = await checkFitness(redis)
    return { status: 'ready', redis: 'ready', ...fitness }
  })
  app.get('/metrics', async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  )
  return app
}
