/** `GET /v1/campaigns` and `GET /v1/campaigns/:id`. */
import { CAMPAIGN_STATES, campaignViewSchema } from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { refuse } from '../../validation.ts'
import { limitSchema } from '../paging.ts'
import { findCampaign } from './find-campaign.ts'
import { type CampaignRouteOptions, campaignParams } from './index.ts'
import { placesSchema, readPage, writePlaces } from './page.ts'
import { viewsOf } from './view.ts'

const querySchema = z.strictObject({
  account: z.string().min(1).max(64).optional().meta({ description: 'Only of this account' }),
  state: z.enum(CAMPAIGN_STATES).optional().meta({ description: 'Only in this state' }),
  limit: limitSchema,
  cursor: placesSchema.optional().meta({ description: '`next` of the page before' }),
})

export function overviewRoutes(app: App, { storage }: CampaignRouteOptions): void {
  app.get(
    '/v1/campaigns',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['campaigns'],
        summary: 'Campaigns, the newest first',
        description:
          'With a filter a page may hold fewer than `limit` although there is a next one. Those whose retention is over are not listed.',
        querystring: querySchema,
        response: {
          200: z.object({ items: z.array(campaignViewSchema), next: z.string().nullable() }),
          ...refusals(400),
        },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const { account, state, limit, cursor } = request.query
      if (account !== undefined && !storage.accounts.has(account)) {
        throw refuse([{ path: 'account', message: 'there is no account with this id' }])
      }
      const accounts = account === undefined ? [...storage.accounts.keys()] : [account]
      const { records, places } = await readPage(storage, accounts, { state, limit, from: cursor })
      return { items: await viewsOf(storage, records), next: places ? writePlaces(places) : null }
    },
  )

  app.get(
    '/v1/campaigns/:id',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['campaigns'],
        summary: 'A campaign and how it goes',
        params: campaignParams,
        querystring: z.strictObject({}),
        response: { 200: campaignViewSchema, ...refusals(400, 404) },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const [view] = await viewsOf(storage, [await findCampaign(storage, request.params.id)])
      return view!
    },
  )
}
