/** A fault rule as it is written: whom it hits, how often, and what it does. */
import { z } from 'zod'
import { systems } from '../systems/index.ts'
import { providerNames } from '../systems/system.ts'
import { latencySchema } from './latency.ts'
import { retryAfterSchema } from './retry-after.ts'
import { selectionFields } from './selection.ts'

export const garbageNames = [
  'html', // a gateway's error page
  'empty', // no body at all
  'truncated-json', // the success answer, its second half missing
  'missing-commas', // the success answer as Kaleyra's document misprints it
  'array-data', // an array where the request id should be
  'large-text', // 5 MB of text
  'wrong-content-type', // the success answer as text/html
  'huge-numbers', // numbers beyond 2^53 where strings should be
  'cut-body', // headers that promise more than comes, then the connection is cut
] as const

const status = z.number().int().min(200).max(599)
const headers = z.record(z.string(), z.string())

export const effectSchema = z.discriminatedUnion('kind', [
  /** An error of the provider by name. */
  z.strictObject({
    kind: z.literal('error'),
    name: z.string(),
    /** For errors without fixed words and status (Zixflow's `failure`). */
    message: z.string().optional(),
    status: status.optional(),
    retryAfter: retryAfterSchema.optional(),
  }),
  /** An answer word for word. A body that is not a string is sent as JSON. */
  z.strictObject({
    kind: z.literal('answer'),
    status,
    body: z.json().optional(),
    headers: headers.optional(),
    retryAfter: retryAfterSchema.optional(),
    /** Whether the message is taken all the same. */
    accepted: z.boolean().default(false),
  }),
  /** Takes the message, then cuts the connection without a word. */
  z.strictObject({ kind: z.literal('lost-response') }),
  /** Resets the connection; the message is not taken. */
  z.strictObject({ kind: z.literal('reset-before-body') }),
  z.strictObject({ kind: z.literal('reset-after-body') }),
  /** Never answers. */
  z.strictObject({ kind: z.literal('hang'), accepted: z.boolean().default(true) }),
  /** Answers what cannot be read. With a status below 300 the message is taken unless `accepted` says otherwise. */
  z.strictObject({
    kind: z.literal('garbage'),
    garbage: z.enum(garbageNames),
    status: status.optional(),
    accepted: z.boolean().optional(),
  }),
])

export type Effect = z.infer<typeof effectSchema>

const knownErrors = Object.fromEntries(
  providerNames.map((provider) => [provider, Object.keys(systems[provider].errors)]),
)

export const faultSchema = z
  .strictObject({
    ...selectionFields,
    latency: latencySchema.optional(),
    /** Sends the answer's body in small pieces. */
    slowBody: z
      .strictObject({
        chunkBytes: z.number().int().min(1).default(1),
        intervalMs: z.number().int().min(1).default(50),
      })
      .optional(),
    effect: effectSchema.optional(),
  })
  .superRefine((rule, context) => {
    if (rule.latency === undefined && rule.slowBody === undefined && rule.effect === undefined) {
      context.addIssue({ code: 'custom', message: 'give at least one of latency, slowBody, effect' })
    }
    if (rule.effect?.kind !== 'error') return
    const { name } = rule.effect
    const providers = rule.provider === undefined ? providerNames : [rule.provider]
    if (providers.some((provider) => knownErrors[provider]!.includes(name))) return
    const names = [...new Set(providers.flatMap((provider) => knownErrors[provider]!))]
    context.addIssue({
      code: 'custom',
      path: ['effect', 'name'],
      message: `no such error; there are ${names.join(', ')}`,
    })
  })

export type FaultRule = z.infer<typeof faultSchema>
