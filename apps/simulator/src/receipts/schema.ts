/** A receipt rule as it is written: whose messages it is about, which statuses they get, when and how they are told. */
import { z } from 'zod'
import { latencySchema } from '../faults/latency.ts'
import { selectionFields } from '../faults/selection.ts'

const word = z.string().min(1).max(200)

const plannedStatus = z.strictObject({
  /** Any word: those of the documents, or one that nobody knows. */
  status: word,
  /** For a failure: its code and its words. */
  code: z.union([z.number().int(), z.string().max(100)]).optional(),
  message: z.string().max(1000).optional(),
  /** After the status before; the rule's where it is not given. */
  delay: latencySchema.optional(),
  probability: z.number().min(0).max(1).optional(),
  /** It happens, and a delivery report tells it, but no receipt is sent. */
  silent: z.boolean().optional(),
  /** Sent once, with another token than the right one; it does not happen. */
  wrongToken: z.boolean().optional(),
})

export type PlannedStatus = z.infer<typeof plannedStatus>

const statusSchema = z.union([word.transform((status): PlannedStatus => ({ status })), plannedStatus], {
  error:
    'a status, or an object with status and any of code, message, delay, probability, silent, wrongToken',
})

export const receiptRuleSchema = z.strictObject({
  ...selectionFields,
  /** In the order in which they happen; with none, messages of this rule never hear anything. */
  statuses: z.array(statusSchema).max(50),
  /** From one status to the next, and from the acceptance to the first. */
  delay: latencySchema.default({ fixedMs: 0 }),
  /** `shuffled` and `reversed` change which status is told at which of the times. */
  order: z.enum(['kept', 'shuffled', 'reversed']).default('kept'),
  /** Tells each status again, so many times more, each after its own delay. */
  repeat: z
    .strictObject({
      probability: z.number().min(0).max(1).default(1),
      times: z.number().int().min(1).max(20).default(1),
      delay: latencySchema.default({ fixedMs: 0 }),
    })
    .optional(),
  /** The first status is told before the send is answered. */
  early: z.boolean().default(false),
  /** Holds receipts back until the next multiple of this time, and then sends them all at once. */
  burstMs: z.number().int().min(1).max(600_000).optional(),
  /** Most statuses in one body, where the provider puts several into one. */
  together: z.number().int().min(1).max(1000).default(1),
})

export type ReceiptRule = z.infer<typeof receiptRuleSchema>
/** How receipts are sent, whatever they say. */
export const senderSchema = z.strictObject({
  /** Requests in flight at most. */
  inFlight: z.number().int().min(1).max(5000).default(100),
  timeoutMs: z.number().int().min(10).max(120_000).default(10_000),
  /** The waits before a receipt is sent again after anything but a 2xx; then it is given up. */
  retryDelaysMs: z
    .array(z.number().int().min(0).max(3_600_000))
    .max(50)
    .default([500, 1000, 2000, 5000, 10_000]),
})

export type SenderSettings = z.infer<typeof senderSchema>
