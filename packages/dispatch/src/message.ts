/**
 * What callers send and read. The schemas here are the one source of validation, types and OpenAPI.
 *
 * - account: credentials at one provider plus the one sender identity they send as.
 * - message: one content for one recipient; id `msg_…`.
 * - reference: the caller's own name for the message; it stays with us.
 */
import { contentSchema } from '@wa-dispatch/providers'
import { z } from 'zod'
import { PRIORITIES } from './lanes.ts'
import { OUTCOMES, STATES } from './ledger/record.ts'

/** E.164 digits; a leading `+` is accepted and dropped. */
export const recipientSchema = z
  .string()
  .regex(/^\+?[1-9]\d{6,14}$/, 'an E.164 number: 7 to 15 digits with the country code, no leading 0')
  .transform((value) => value.replace('+', ''))
  .meta({ examples: ['919876543210'] })

export const instantSchema = z.iso
  .datetime({ offset: true, error: 'an ISO 8601 instant such as 2026-12-01T09:00:00Z' })
  .transform((value) => new Date(value))

const examples = [
  {
    account: 'kaleyra-in',
    to: '919876543210',
    reference: 'order-1042',
    message: {
      type: 'interactive',
      interactive: {
        type: 'button',
        body: { text: 'Does Tuesday suit you?' },
        action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] },
      },
    },
  },
  {
    account: 'kaleyra-in',
    to: '919876543210',
    message: { type: 'reaction', reaction: { message_id: 'wamid.HBgL', emoji: '😀' } },
  },
]

/** The body of `POST /v1/messages`. */
export const messageRequestSchema = z
  .strictObject({
    account: z
      .string()
      .min(1)
      .max(64)
      .meta({ description: 'An account id of accounts.json', examples: ['kaleyra-in'] }),
    to: recipientSchema,
    message: contentSchema,
    reference: z.string().min(1).max(255).optional(),
    send_at: instantSchema.optional(),
    expires_at: instantSchema.optional(),
    priority: z.enum(PRIORITIES).default('transactional'),
  })
  .meta({ examples: examples as never })
export type MessageRequest = z.infer<typeof messageRequestSchema>

const time = z.iso.datetime()

/** A message as it is read back. */
export const messageViewSchema = z.object({
  id: z.string(),
  account: z.string(),
  to: z.string(),
  state: z.enum(STATES),
  request_id: z.string().optional(),
  reference: z.string().optional(),
  campaign_id: z.string().optional(),
  error: z
    .object({ code: z.string(), kind: z.string(), message: z.string(), at: z.enum(['submit', 'delivery']) })
    .nullable(),
  created_at: time,
  updated_at: time,
  next_attempt_at: time.optional().meta({ description: 'While it is scheduled or retrying' }),
  attempts: z.array(
    z.object({
      at: time,
      outcome: z.enum(OUTCOMES).optional().meta({ description: 'Absent while the answer is awaited' }),
      code: z.string().optional(),
      duration_ms: z.int().optional(),
    }),
  ),
  receipts: z.array(z.object({ at: time, status: z.string() })),
})
export type MessageView = z.infer<typeof messageViewSchema>
