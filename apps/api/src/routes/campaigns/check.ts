/** `POST /v1/campaigns/:id/check`: a campaign's numbers before anything is sent. It changes nothing. */
import { compileTemplate, countReached, type Template } from '@wa-dispatch/dispatch'
import { type Provider, providers } from '@wa-dispatch/providers'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { examplesOf } from './examples.ts'
import { findCampaign } from './find-campaign.ts'
import { forecast, warningsOf } from './forecast.ts'
import { type CampaignRouteOptions, campaignParams } from './index.ts'

const HOUR_MS = 3_600_000
const DEFAULT_HOURS = 24

const checkSchema = z
  .strictObject({
    hours: z
      .int()
      .min(1)
      .max(720)
      .default(DEFAULT_HOURS)
      .meta({ description: 'How far back `already_reached` looks' }),
  })
  .nullish()

const count = z.int().min(0)

export const checkedSchema = z.object({
  total: count.meta({ description: 'Accepted rows' }),
  duplicates: count.meta({ description: 'Rows whose recipient was there already' }),
  rejected: count.meta({ description: 'Rows that were refused' }),
  rejections: z.record(z.string(), count).meta({
    description:
      'Refused rows by reason; `missing_variable` and `content` (over a limit after filling in, for example) among them',
    examples: [{ to: 12, missing_variable: 3, content: 1 }],
  }),
  already_reached: count.meta({
    description:
      'Recipients to whom another campaign of this name has sent within the last `hours`, each counted once: their ' +
      'message is submitted or further, is being sent or is uncertain, and last changed within that time. ' +
      'They are not left out',
  }),
  duration_seconds: z.number().meta({
    description: 'What is not sent yet, at the account’s limit, when nothing else uses it',
  }),
  warnings: z.array(z.string()).meta({ description: 'What will not go as it may be expected to, in words' }),
  examples: z
    .array(z.object({ line: z.int(), to: z.string(), message: z.record(z.string(), z.unknown()) }))
    .meta({ description: 'As they would go out: the first row, one about the middle, the last one' }),
})

export function checkRoute(app: App, { storage }: CampaignRouteOptions): void {
  const { accounts, campaigns, ledger } = storage

  app.post(
    '/v1/campaigns/:id/check',
    {
      config: { scope: 'send' },
      schema: {
        ...bearer,
        tags: ['campaigns'],
        summary: 'The numbers before anything is sent',
        description: 'A dry run: it changes nothing. For a million rows it takes some seconds.',
        params: campaignParams,
        body: checkSchema,
        response: { 200: checkedSchema, ...refusals(400, 404, 413, 415) },
      },
    },
    async (request, reply) => {
      storage.mustBeOpen()
      const { hours = DEFAULT_HOURS } = request.body ?? {}
      const campaign = await findCampaign(storage, request.params.id)
      const account = accounts.get(campaign.definition.account)!
      const now = await ledger.now()
      const isOver = () => reply.raw.destroyed
      const ahead = forecast(campaign, account.rateLimit.perSecond, now)
      const compiled = compileTemplate(
        campaign.definition.message,
        providers[account.provider as keyof typeof providers] as Provider,
      )
      const template: Template | undefined = 'template' in compiled ? compiled.template : undefined
      const [rejections, warnings, examples, reached] = await Promise.all([
        campaigns.refusals(campaign.id),
        warningsOf(storage, campaign, ahead),
        template ? examplesOf(campaigns, campaign, template) : [],
        countReached(campaigns, ledger, campaign, { since: now - hours * HOUR_MS, isOver }),
      ])
      if (!template) warnings.push('The message does not fit its account any more: nothing can be sent.')
      const { total, duplicates, rejected } = campaign
      return {
        total,
        duplicates,
        rejected,
        rejections,
        already_reached: reached,
        duration_seconds: ahead.durationSeconds,
        warnings,
        examples,
      }
    },
  )
}
