/** Accounts and their lanes: what waits, how fast it goes, pause and resume. */
import { type Account, prepareLane, readRate, readReconciliation } from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { Problem } from '../../problems.ts'
import { refuseBody } from '../../refuse-body.ts'
import type { Storage } from '../../storage.ts'
import { depthOf } from './depth.ts'

const accountSchema = z.object({
  id: z.string(),
  provider: z.string(),
  base_url: z.string(),
  paused: z.boolean().meta({ description: 'A paused lane takes messages and sends none' }),
  depth: z.object({
    waiting: z.int().meta({ description: 'Could go now' }),
    delayed: z.int().meta({ description: 'Wait for their time: scheduled, retrying, slowed' }),
    active: z.int().meta({ description: 'A worker has them in hand' }),
    uncertain: z.int().meta({ description: 'Nobody knows whether the provider took them' }),
  }),
  rate_limit: z.object({
    per_second: z.number(),
    pair_per_minute: z.number().optional(),
    shared: z.object({ name: z.string(), per_second: z.number() }).optional(),
  }),
  allowed_per_second: z.number().meta({
    description: 'What is sent now at most: less than the limit after the provider said that it is too much',
  }),
  lowered_since: z.iso.datetime().optional(),
  breaker: z.object({
    state: z.enum(['closed', 'open', 'half-open']).meta({
      description: 'Open: nothing is sent but single messages, at growing intervals, until one is accepted',
    }),
    since: z.iso.datetime().optional(),
    next_probe_at: z.iso.datetime().optional(),
    reason: z.object({ code: z.string(), kind: z.string(), message: z.string() }).optional(),
  }),
  rate_per_second: z
    .number()
    .meta({ description: 'Attempts of all workers, averaged over the last ten seconds' }),
  reconciliation: z
    .object({
      at: z.iso.datetime().meta({ description: 'When the last run over all messages of the account ended' }),
      started_at: z.iso.datetime(),
      looked_at: z.int().meta({ description: 'Messages' }),
      unheard: z.int().meta({
        description: 'Submitted longer ago than `RECONCILE_AFTER_HOURS`, and no receipt came since',
      }),
      uncertain: z.int(),
      mended: z.int().meta({ description: 'Jobs that were lost, and claims whose worker died' }),
      asked: z.int().meta({ description: 'Unheard ones that the provider is asked about' }),
    })
    .optional(),
})

const patchSchema = z
  .strictObject({
    rateLimit: z.strictObject({
      perSecond: z.number().positive().max(100_000).nullish(),
      pairPerMinute: z.number().positive().max(10_000).nullish(),
    }),
  })
  .meta({ examples: [{ rateLimit: { perSecond: 20 } }] as never })

const instant = (milliseconds: number) => new Date(milliseconds).toISOString()

const paramsSchema = z.strictObject({
  id: z
    .string()
    .max(64)
    .meta({ examples: ['kaleyra-in'] }),
})

export function accountRoutes(app: App, { storage }: { storage: Storage }): void {
  async function viewOf(account: Account): Promise<z.infer<typeof accountSchema>> {
    const { id, provider, baseUrl, rateLimit } = account
    const [paused, depth, rate, limits, last] = await Promise.all([
      storage.lanes.get(id)!.isPaused(),
      depthOf(storage, id),
      readRate(storage.ledger, storage.redis, id),
      storage.limiter.read(account),
      readReconciliation(storage.ledger, storage.redis, id),
    ])
    const { configuredPerSecond, pairPerMinute, perSecond, loweredSince, breaker } = limits
    const { shared } = rateLimit
    return {
      id,
      provider,
      base_url: baseUrl,
      paused,
      depth,
      rate_limit: {
        per_second: configuredPerSecond,
        ...(pairPerMinute !== undefined && { pair_per_minute: pairPerMinute }),
        ...(shared && { shared: { name: shared.name, per_second: shared.perSecond } }),
      },
      allowed_per_second: Math.round(perSecond * 100) / 100,
      ...(loweredSince !== undefined && { lowered_since: instant(loweredSince) }),
      breaker:
        breaker.state === 'closed'
          ? { state: breaker.state }
          : {
              state: breaker.state,
              since: instant(breaker.since),
              next_probe_at: instant(breaker.nextProbeAt),
              reason: breaker.reason,
            },
      rate_per_second: rate,
      ...(last && {
        reconciliation: {
          at: instant(last.at),
          started_at: instant(last.startedAt),
          looked_at: last.lookedAt,
          unheard: last.unheard,
          uncertain: last.uncertain,
          mended: last.mended,
          asked: last.asked,
        },
      }),
    }
  }

  function knownAccount(id: string): Account {
    const account = storage.accounts.get(id)
    if (!account) throw new Problem('not-found', 'There is no account with this id.')
    return account
  }

  app.get(
    '/v1/accounts',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['accounts'],
        summary: 'Every account and the state of its lane',
        querystring: z.strictObject({}),
        response: { 200: z.object({ items: z.array(accountSchema), next: z.null() }), ...refusals(400) },
      },
    },
    async () => {
      storage.mustBeOpen()
      return { items: await Promise.all([...storage.accounts.values()].map(viewOf)), next: null }
    },
  )

  for (const action of ['pause', 'resume'] as const) {
    app.post(
      `/v1/accounts/:id/${action}`,
      {
        config: { scope: 'admin' },
        preValidation: refuseBody,
        schema: {
          ...bearer,
          tags: ['accounts'],
          summary:
            action === 'pause' ? 'Send nothing more until resumed' : 'Send again; closes an open breaker too',
          params: paramsSchema,
          response: { 200: accountSchema, ...refusals(400, 404) },
        },
      },
      async (request) => {
        const account = knownAccount(request.params.id)
        storage.mustBeOpen()
        const lane = storage.lanes.get(account.id)!
        // Who resumes a lane says that it may send again, whatever stopped it.
        if (action === 'resume') await storage.limiter.heal(account)
        await lane[action]()
        if (action === 'resume') await lane.removeRateLimitKey()
        request.log.info({ account: account.id, by: request.caller?.name }, `account.${action}d`)
        return viewOf(account)
      },
    )
  }

  app.patch(
    '/v1/accounts/:id',
    {
      config: { scope: 'admin' },
      schema: {
        ...bearer,
        tags: ['accounts'],
        summary: 'Change limits while everything runs',
        description:
          'All workers go by it at once, and it survives a restart; `null` goes back to what `accounts.json` says.',
        params: paramsSchema,
        body: patchSchema,
        response: { 200: accountSchema, ...refusals(400, 404) },
      },
    },
    async (request) => {
      const account = knownAccount(request.params.id)
      storage.mustBeOpen()
      await storage.limiter.configure(account, request.body.rateLimit)
      const lane = storage.lanes.get(account.id)!
      await prepareLane(lane, account, storage.limiter)
      await lane.removeRateLimitKey()
      request.log.info(
        { account: account.id, by: request.caller?.name, ...request.body.rateLimit },
        'account.limited',
      )
      return viewOf(account)
    },
  )
}
