/** What Prometheus reads from this process. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { z } from 'zod'
import type { App } from './app.ts'
import { dispatchTotals } from './dispatch-totals.ts'
import { bearer, refusals } from './openapi.ts'
import { reconciliationMetrics } from './reconciliation-metrics.ts'
import { depthOf } from './routes/accounts/depth.ts'
import type { Storage } from './storage.ts'

export interface Metrics {
  contentType: string
  /** All of them in the Prometheus text format. */
  text(): Promise<string>
  /** Messages that were stored. */
  accepted(account: string, count?: number): void
  /** Rows of campaigns that were read. */
  rows(account: string, counts: Record<'accepted' | 'rejected' | 'duplicate', number>): void
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
  const rows = new Counter({
    name: 'wa_dispatch_campaign_rows_total',
    help: 'Rows of campaigns by account and what became of them: accepted, rejected, duplicate',
    labelNames: ['account', 'result'],
    registers,
  })
  const redis = new Gauge({ name: 'wa_dispatch_redis_up', help: '1 while Redis answers', registers })
  const depths = new Gauge({
    name: 'wa_dispatch_lane_depth',
    help: 'Jobs on the lane by account and state',
    labelNames: ['account', 'state'],
    registers,
  })

  const allowed = new Gauge({
    name: 'wa_dispatch_limit_per_second',
    help: 'Messages a second that the account may send: as configured, and what a provider lets through now',
    labelNames: ['account', 'kind'],
    registers,
  })
  const breakers = new Gauge({
    name: 'wa_dispatch_breaker_open',
    help: '1 while nothing but probes is sent for the account',
    labelNames: ['account'],
    registers,
  })
  const paused = new Gauge({
    name: 'wa_dispatch_lane_paused',
    help: '1 while the lane is paused by hand',
    labelNames: ['account'],
    registers,
  })

  const unsafe = new Gauge({
    name: 'wa_dispatch_redis_unsafe',
    help: 'Settings of Redis with which accepted messages can be lost; /health/ready names them',
    registers,
  })

  const readTotals = dispatchTotals(registry, storage)
  const readReconciliations = reconciliationMetrics(registry, storage)

  /** Lanes are asked when somebody wants to know. Without a Redis the process still tells of itself. */
  async function ask(): Promise<void> {
    try {
      storage.mustBeOpen()
      const accounts = [...storage.accounts.values()]
      const found = await Promise.all(
        accounts.map((account) =>
          Promise.all([
            depthOf(storage, account.id),
            storage.limiter.read(account),
            storage.lanes.get(account.id)!.isPaused(),
          ]),
        ),
      )
      for (const [index, { id: account }] of accounts.entries()) {
        const [depth, limits, isPaused] = found[index]!
        const ofAll = accounts[index]!.rateLimit.shared?.perSecond ?? Number.POSITIVE_INFINITY
        allowed.set({ account, kind: 'configured' }, Math.min(limits.configuredPerSecond, ofAll))
        allowed.set({ account, kind: 'now' }, limits.perSecond)
        breakers.set({ account }, limits.breaker.state === 'closed' ? 0 : 1)
        paused.set({ account }, isPaused ? 1 : 0)
        for (const state of ['waiting', 'delayed', 'active'] as const)
          depths.set({ account, state }, depth[state])
      }
      await readTotals()
      await readReconciliations()
      unsafe.set((await storage.state()).unsafe.length)
      redis.set(1)
    } catch {
      for (const gauge of [depths, allowed, breakers, paused]) gauge.reset()
      redis.set(0)
    }
  }

  return {
    contentType: registry.contentType,
    async text() {
      await ask()
      return registry.metrics()
    },
    accepted: (account, count = 1) => accepted.inc({ account }, count),
    rows(account, counts) {
      for (const [result, count] of Object.entries(counts)) rows.inc({ account, result }, count)
    },
    request(request, reply) {
      requests.observe(
        { method: request.method, route: request.routeOptions.url ?? 'unknown', status: reply.statusCode },
        reply.elapsedTime / 1000,
      )
    },
  }
}

/** `GET /metrics`. */
export function metricsRoute(app: App, metrics: Metrics): void {
  app.get(
    '/metrics',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['operation'],
        summary: 'Metrics in the Prometheus text format',
        response: { 200: { content: { 'text/plain': { schema: z.string() } } }, ...refusals() },
      },
    },
    async (_request, reply) =>
      reply
        .type(metrics.contentType)
        .serializer(String)
        .send(await metrics.text()),
  )
}
