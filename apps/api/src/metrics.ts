/** What Prometheus reads from this process. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { App } from './app.ts'
import { depthOf } from './routes/accounts/depth.ts'
import type { Storage } from './storage.ts'

export interface Metrics {
  registry: Registry
  /** Messages that were stored. */
  accepted(account: string, count?: number): void
  request(request: FastifyRequest, reply: FastifyReply): void
}

/**
 * @param storage lanes are asked when the metrics are read, not before
 */
export function createMetrics(storage: Storage): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry, prefix: 'wa_dispatch_' })

  const requests = new Histogram({
    name: 'wa_dispatch_http_request_duration_seconds',
    help: 'HTTP requests by route, method and status, and how long they took',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  })
  const accepted = new Counter({
    name: 'wa_dispatch_messages_accepted_total',
    help: 'Messages that were taken, by account',
    labelNames: ['account'],
    registers,
  })
  const redis = new Gauge({ name: 'wa_dispatch_redis_up', help: '1 while Redis answers', registers })
  const uncertain = new Gauge({
    name: 'wa_dispatch_messages_uncertain',
    help: 'Messages of which nobody knows whether the provider took them, by account',
    labelNames: ['account'],
    registers,
  })
  new Gauge({
    name: 'wa_dispatch_lane_depth',
    help: 'Jobs on the lane by account and state',
    labelNames: ['account', 'state'],
    registers,
    async collect() {
      this.reset()
      uncertain.reset()
      try {
        storage.mustBeOpen()
        for (const account of storage.accounts.keys()) {
          const depth = await depthOf(storage, account)
          uncertain.set({ account }, depth.uncertain)
          for (const state of ['waiting', 'delayed', 'active'] as const)
            this.set({ account, state }, depth[state])
        }
        redis.set(1)
      } catch {
        redis.set(0)
      }
    },
  })

  return {
    registry,
    accepted: (account, count = 1) => accepted.inc({ account }, count),
    request(request, reply) {
      requests.observe(
        { method: request.method, route: request.routeOptions.url ?? 'unknown', status: reply.statusCode },
        reply.elapsedTime / 1000,
      )
    },
  }
}

/** `GET /metrics`. */
export function metricsRoute(app: App, { registry }: Metrics): void {
  app.get(
    '/metrics',
    {
      config: { scope: 'read' },
      schema: {
        tags: ['operation'],
        summary: 'Metrics in the Prometheus text format',
        security: [{ key: [] }],
      },
    },
    async (_request, reply) =>
      reply
        .type(registry.contentType)
        .serializer(String)
        .send((await registry.metrics()) as never),
  )
}
