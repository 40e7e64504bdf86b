/** Accounts and their lanes: what waits, how fast it goes, pause and resume. */
import { type Account, readRate } from '@wa-dispatch/dispatch'
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
  rate_limit: z.object({ per_second: z.number(), pair_per_minute: z.number().optional() }),
  rate_per_second: z
    .number()
    .meta({ description: 'Attempts of all workers, averaged over the last ten seconds' }),
})

const paramsSchema = z.strictObject({
  id: z
    .string()
    .max(64)
    .meta({ examples: ['kaleyra-in'] }),
})

export function accountRoutes(app: App, { storage }: { storage: Storage }): void {
  async function viewOf({
    id,
    provider,
    baseUrl,
    rateLimit,
  }: Account): Promise<z.infer<typeof accountSchema>> {
    const [paused, depth, rate] = await Promise.all([
      storage.lanes.get(id)!.isPaused(),
      depthOf(storage, id),
      readRate(storage.ledger, storage.redis, id),
    ])
    const { perSecond, pairPerMinute } = rateLimit
    return {
      id,
      provider,
      base_url: baseUrl,
      paused,
      depth,
      rate_limit: {
        per_second: perSecond,
        ...(pairPerMinute !== undefined && { pair_per_minute: pairPerMinute }),
      },
      rate_per_second: rate,
    }
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
          summary: action === 'pause' ? 'Send nothing more until resumed' : 'Send again',
          params: paramsSchema,
          response: { 200: accountSchema, ...refusals(400, 404) },
        },
      },
      async (request) => {
        const account = storage.accounts.get(request.params.id)
        if (!account) throw new Problem('not-found', 'There is no account with this id.')
        storage.mustBeOpen()
        await storage.lanes.get(account.id)![action]()
        request.log.info({ account: account.id, by: request.caller?.name }, `account.${action}d`)
        return viewOf(account)
      },
    )
  }
}
