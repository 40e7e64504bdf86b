/** Zixflow's ingest API. */
import { defineJsonProvider } from '../json-provider.ts'
import { outcomes } from './outcomes.ts'
import { askRequest, readReceipts, readReport, statuses } from './receipts.ts'
import { accountSchema, read, request } from './wire.ts'

export const zixflow = defineJsonProvider({
  name: 'zixflow',
  accountSchema,
  secrets: ['apiKey'],
  defaults: {
    baseUrl: 'https://api-ai.zixflow.com',
    // Guess: no limit is documented.
    rateLimit: { perSecond: 10 },
    timeoutMs: 10_000,
    // Guess: nothing is documented.
    retry: { unavailable: { delaysMs: [2_000, 8_000, 30_000, 120_000, 600_000] } },
  },
  outcomes,
  refuse: () => [],
  request,
  read,
  receipts: { statuses, read: readReceipts },
  report: { request: askRequest, read: readReport },
})
