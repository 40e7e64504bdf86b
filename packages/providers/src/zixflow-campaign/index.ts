/** Zixflow's older campaign API: reply buttons only, and no request id in its answers. */
import { defineJsonProvider } from '../json-provider.ts'
import { outcomes } from './outcomes.ts'
import { accountSchema, read, refuse, request } from './wire.ts'

export const zixflowCampaign = defineJsonProvider({
  name: 'zixflow-campaign',
  accountSchema,
  secrets: ['token'],
  defaults: {
    baseUrl: 'https://api.zixflow.com',
    // Guess: no limit is documented.
    rateLimit: { perSecond: 10 },
    timeoutMs: 10_000,
    // Guess: nothing is documented.
    retry: { unavailable: { delaysMs: [2_000, 8_000, 30_000, 120_000, 600_000] } },
  },
  outcomes,
  refuse,
  request,
  read,
})
