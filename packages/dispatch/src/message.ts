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

/** Where state changes are told; which addresses may be reached is asked of post-backs/receiver-address.ts. */
export const postBackUrlSchema = z
  .url({ protocol: /^https?$/, error: 'an absolute https URL' })
  .max(2_048)
  .meta({
    description: 'Is told each state from `submitted` on, signed as Standard Webhooks say',
    examples: ['https://example.com/whatsapp-states'],
  })

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
    post_back_url: postBackUrlSchema.optional(),
    post_back_data: z
      .string()
      .max(1_024)
      .optional()
      .meta({ description: 'Comes back with each call to `post_back_url`, as it is' }),
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
  wamid: z.string().optional().meta({ description: "WhatsApp's own id, once a receipt has named it" }),
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
  receipts: z.array(
    z.object({
      at: time,
      status: z.string().meta({ description: "The provider's own word" }),
      code: z.string().optional(),
    }),
  ),
  post_backs: z
    .array(
      z.object({
        id: z.string().meta({ description: 'The same for each repetition; `webhook-id` of the call' }),
        type: z.string().meta({ examples: ['message.delivered'] }),
        at: time,
        status: z.enum(['pending', 'delivered', 'dead']),
        attempts: z.array(z.object({ at: time, code: z.string(), duration_ms: z.int() })),
      }),
    )
    .optional()
    .meta({ description: 'What `post_back_url` was told, and when' }),
})
export type MessageView = z.infer<typeof messageViewSchema>
