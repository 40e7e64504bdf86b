/** Campaigns: make one, give it recipients, run it, see how it goes. */
import { CAMPAIGN_STATES } from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import type { Metrics } from '../../metrics.ts'
import type { PostBackGate } from '../../post-back-gate.ts'
import type { Storage } from '../../storage.ts'
import { checkRoute } from './check.ts'
import { controlRoutes } from './control.ts'
import { createRoute } from './create.ts'
import { overviewRoutes } from './overview.ts'
import { type LongRequests, recipientsRoute } from './recipients.ts'
import { reconcileRoute } from './reconcile.ts'
import { reportRoute } from './report.ts'

export interface CampaignRouteOptions {
  storage: Storage
  metrics: Metrics
  postBacks: PostBackGate
  /** Without a receipt for so long, a submitted message is unheard. */
  reconcileAfterHours: number
}

export const campaignParams = z.strictObject({
  id: z.string().meta({ examples: ['cmp_0001000000010a5f3c9d'] }),
})

/** What every change of a campaign answers. */
export const changedSchema = z.object({
  id: z.string().meta({ examples: ['cmp_0001000000010a5f3c9d'] }),
  state: z.enum(CAMPAIGN_STATES),
})

/** @param uploads.long is told which requests may take longer than others */
export function campaignRoutes(
  app: App,
  options: CampaignRouteOptions,
  uploads: { long: LongRequests; idleMs: number },
): void {
  createRoute(app, options)
  recipientsRoute(app, { ...options, ...uploads })
  controlRoutes(app, options)
  overviewRoutes(app, options)
  checkRoute(app, options)
  reportRoute(app, options)
  reconcileRoute(app, options)
}
