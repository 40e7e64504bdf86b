/** Gupshup Partner API v3: carries WhatsApp's message object unchanged. */
import { defineJsonProvider } from '../json-provider.ts'
import { outcomes } from './outcomes.ts'
import { readReceipts, statuses } from './receipts.ts'
import { accountSchema, read, request } from './wire.ts'

export const gupshup = defineJsonProvider({
  name: 'gupshup',
  accountSchema,
  secrets: ['token'],
  defaults: {
    baseUrl: 'https://partner.gupshup.io',
    // Documented for "all the rest" of the routes: ten a second an app.
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
})
