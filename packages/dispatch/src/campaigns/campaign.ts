/** A campaign: one message template for many recipients. The schemas are what callers send and read. */
import { z } from 'zod'
import { PRIORITIES } from '../lanes.ts'
import { STATES } from '../ledger/record.ts'
import { instantSchema, postBackUrlSchema } from '../message.ts'

/** In the order of their numbers, from 1; those of paused and cancelled stand in ledger/scripts/record.lua too. */
export const CAMPAIGN_STATES = ['draft', 'scheduled', 'running', 'paused', 'finished', 'cancelled'] as const
export type CampaignState = (typeof CAMPAIGN_STATES)[number]

/** The body of `POST /v1/campaigns`. */
export const campaignRequestSchema = z
  .strictObject({
    name: z.string().min(1).max(200),
    account: z.string().min(1).max(64).meta({ description: 'An account id of accounts.json' }),
    message: z.record(z.string(), z.unknown()).meta({
      description:
        'As in `POST /v1/messages`; any text in it may hold `{{name}}`, filled from the recipient’s row',
    }),
    reference: z
      .string()
      .min(1)
      .max(255)
      .optional()
      .meta({ description: 'Of every message whose row has none' }),
    priority: z.enum(PRIORITIES).default('bulk'),
    weight: z
      .int()
      .min(1)
      .max(100)
      .default(1)
      .meta({ description: 'Its share of the lane beside other running campaigns' }),
    send_at: instantSchema.optional(),
    expires_at: instantSchema.optional(),
    post_back_url: postBackUrlSchema.optional(),
  })
  .meta({
    examples: [
      {
        name: 'autumn',
        account: 'kaleyra-in',
        message: {
          type: 'interactive',
          interactive: {
            type: 'button',
            body: { text: 'Hello {{name}}, does Tuesday suit you?' },
            action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] },
          },
        },
      },
    ] as never,
  })
export type CampaignRequest = z.infer<typeof campaignRequestSchema>

const time = z.iso.datetime()
const count = z.int().min(0)

/** A campaign as it is read back. */
export const campaignViewSchema = z.object({
  id: z.string(),
  name: z.string(),
  account: z.string(),
  state: z.enum(CAMPAIGN_STATES),
  message: z.record(z.string(), z.unknown()),
  reference: z.string().optional(),
  priority: z.enum(PRIORITIES),
  weight: z.int(),
  send_at: time.optional(),
  expires_at: time.optional(),
  post_back_url: z.string().optional(),
  created_at: time,
  started_at: time.optional(),
  finished_at: time.optional(),
  total: count.meta({ description: 'Accepted rows' }),
  counts: z.partialRecord(z.enum(STATES), count).meta({
    description: 'Messages by state; they add up to `total`. Rows that are no jobs yet are `queued`',
  }),
  rejected: count.meta({ description: 'Rows that were refused' }),
  duplicates: count.meta({ description: 'Rows whose recipient was there already' }),
  rate: z
    .number()
    .meta({ description: 'Messages a second that got their first answer, over the last half minute' }),
  estimated_end: time
    .optional()
    .meta({ description: 'At the present rate, or the account’s limit before there is one' }),
  waiting_for: z.array(z.string()).meta({
    description: 'What has to happen before it is finished',
    examples: [['3 retries', '1 uncertain']],
  }),
})
export type CampaignView = z.infer<typeof campaignViewSchema>

/** What is stored of the request. */
export interface CampaignDefinition {
  name: string
  account: string
  message: Record<string, unknown>
  reference?: string | undefined
  priority: (typeof PRIORITIES)[number]
  weight: number
  /** Milliseconds since 1970. */
  sendAt?: number | undefined
  expiresAt?: number | undefined
  /** Where state changes of its messages are told. */
  postBackUrl?: string | undefined
}
