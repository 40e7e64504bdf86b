/** `POST /v1/campaigns/:id/reconcile`: a campaign against what was heard, and against its lane. */
import {
  type CampaignReconciliation,
  canBeAsked,
  hearsReceipts,
  Mender,
  mendedOf,
  Questions,
  RowsGoneError,
  reconcileCampaign,
  STATES,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { Problem } from '../../problems.ts'
import { findCampaign } from './find-campaign.ts'
import { type CampaignRouteOptions, campaignParams } from './index.ts'

const HOUR_MS = 3_600_000
/** Ids of each kind. */
const MOST_LISTED = 100

const DESCRIPTION = `Looks at every row, mends what can be mended and lists the rest. At any time, as often as wanted, also
while the campaign runs: nothing is sent twice by it. For a million rows it takes some seconds up to a minute; it ends when
the caller hangs up. Lists hold the first ${MOST_LISTED}, their \`count\` is exact.`

const bodySchema = z
  .strictObject({
    after_hours: z
      .number()
      .min(0)
      .max(8_760)
      .optional()
      .meta({
        description:
          'A message without a receipt for so long is `unheard`; `RECONCILE_AFTER_HOURS` when absent',
        examples: [24],
      }),
  })
  .nullish()

const count = z.int().min(0)
const counts = z.partialRecord(z.enum(STATES), count)
const ids = z.object({ count, ids: z.array(z.string()) })

export const reconciledSchema = z.object({
  id: z.string().meta({ examples: ['cmp_0001000000010a5f3c9d'] }),
  at: z.iso.datetime().meta({ description: 'When it began' }),
  after_hours: z.number(),
  looked_at: count.meta({ description: 'Rows' }),
  found: counts.meta({ description: 'Rows by the state that they had when they were looked at' }),
  counts: counts.meta({ description: 'What the campaign counts, behind the last row' }),
  counts_agree: z.boolean().nullable().meta({
    description: 'Whether `found` is what the campaign counted; null where messages moved meanwhile',
  }),
  receipts: z.enum(['posted', 'none']).meta({
    description: 'Whether the provider ever says what became of a message; with `none` nothing is `unheard`',
  }),
  unheard: ids.meta({ description: 'Submitted longer ago than `after_hours`, and no receipt came since' }),
  uncertain: z.object({ count, items: z.array(z.object({ id: z.string(), since: z.iso.datetime() })) }).meta({
    description: 'Nobody knows whether the provider took them; see `POST /v1/messages/:id/resolve`',
  }),
  without_job: ids.meta({
    description: 'They waited and the lane had no job of theirs; mended: it has one now',
  }),
  lost_claims: z
    .object({ count, items: z.array(z.object({ id: z.string(), state: z.enum(STATES) })) })
    .meta({ description: 'Their worker died while it sent them; mended: `state` is what they are now' }),
  lost_rows: z.object({ count, items: z.array(z.object({ line: z.int(), id: z.string() })) }).meta({
    description:
      'Rows whose messages the ledger does not have, since Redis lost data. They stay `queued` and are not sent',
  }),
  mended: count,
  asked: count.meta({
    description: 'Unheard ones that the provider is asked about from now on, within the account’s limit',
  }),
})

export function reconcileRoute(app: App, { storage, reconcileAfterHours }: CampaignRouteOptions): void {
  const { accounts, campaigns, ledger, redis } = storage
  const questions = new Questions(redis, ledger)

  app.post(
    '/v1/campaigns/:id/reconcile',
    {
      config: { scope: 'send' },
      schema: {
        ...bearer,
        tags: ['campaigns'],
        summary: 'What was not heard of, what nobody knows, what was lost',
        description: DESCRIPTION,
        params: campaignParams,
        body: bodySchema,
        response: { 200: reconciledSchema, ...refusals(400, 404, 413, 415) },
      },
    },
    async (request, reply) => {
      storage.mustBeOpen()
      const afterHours = request.body?.after_hours ?? reconcileAfterHours
      const campaign = await findCampaign(storage, request.params.id)
      const account = accounts.get(campaign.definition.account)!
      const lane = { account, lane: storage.lanes.get(account.id)! }
      const mender = new Mender({ ledger, redis, log: request.log as never })
      const options = {
        afterMs: afterHours * HOUR_MS,
        mostListed: MOST_LISTED,
        isOver: () => reply.raw.destroyed,
      }
      const result = await reconcileCampaign(
        { ledger, campaigns, mender, questions },
        lane,
        campaign,
        options,
      ).catch((error: Error) => {
        if (error instanceof RowsGoneError)
          throw new Problem('not-found', 'The rows of this campaign are no longer kept.')
        throw error
      })
      const view = viewOf(result, afterHours, hearsReceipts(account) ? 'posted' : 'none')
      const { looked_at, unheard, uncertain, lost_rows, mended, asked } = view
      request.log.info(
        {
          campaign: campaign.id.text,
          looked_at,
          unheard: unheard.count,
          uncertain: uncertain.count,
          lost_rows: lost_rows.count,
          mended,
          asked: canBeAsked(account) ? asked : undefined,
          by: request.caller?.name,
        },
        'campaign.reconciled',
      )
      return view
    },
  )
}

function viewOf(
  { at, campaign, found, countsAgree, lostRows }: CampaignReconciliation,
  afterHours: number,
  receipts: 'posted' | 'none',
): z.infer<typeof reconciledSchema> {
  const { lookedAt, states, unheard, uncertain, withoutJob, lostClaims, asked } = found
  return {
    id: campaign.id.text,
    at: new Date(at).toISOString(),
    after_hours: afterHours,
    looked_at: lookedAt,
    found: states,
    counts: campaign.counts,
    counts_agree: countsAgree ?? null,
    receipts,
    unheard: { count: unheard.count, ids: unheard.items },
    uncertain: {
      count: uncertain.count,
      items: uncertain.items.map(({ id, since }) => ({ id, since: new Date(since).toISOString() })),
    },
    without_job: { count: withoutJob.count, ids: withoutJob.items },
    lost_claims: { count: lostClaims.count, items: lostClaims.items },
    lost_rows: { count: lostRows.count, items: lostRows.items },
    mended: mendedOf(found),
    asked,
  }
}
