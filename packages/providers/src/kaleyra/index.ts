/** Kaleyra WhatsApp API v2: carries WhatsApp's message object unchanged. */
import { parseJsonWithMissingCommas } from '../json.ts'
import { defineJsonProvider } from '../json-provider.ts'
import { outcomes } from './outcomes.ts'
import { readReceipts, statuses } from './receipts.ts'
import { accountSchema, read, request } from './wire.ts'

const minuteMs = 60_000

export const kaleyra = defineJsonProvider({
  name: 'kaleyra',
  accountSchema,
  secrets: ['apiKey'],
  defaults: {
    baseUrl: 'https://api.in.kaleyra.io',
    // WhatsApp's own limit for a number that was not upgraded; Kaleyra documents none.
    rateLimit: { perSecond: 80 },
    timeoutMs: 10_000,
    // Kaleyra's advice for WA500.
    retry: { unavailable: { delaysMs: [5 * minuteMs, 10 * minuteMs, 15 * minuteMs] } },
  },
  outcomes,
  refuse: () => [],
  request,
  read,
  receipts: { statuses, read: readReceipts },
  parse: parseJsonWithMissingCommas,
})
