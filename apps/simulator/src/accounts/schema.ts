/** An account as it is registered. */
import { z } from 'zod'
import { providerNames } from '../systems/system.ts'
import { rateLimitSchema } from './rate-limit.ts'

const secret = z.string().min(1)

/** The credentials each system checks. */
export const credentialSchemas = {
  kaleyra: z.strictObject({ sid: secret, apiKey: secret }),
  gupshup: z.strictObject({ token: secret }),
  zixflow: z.strictObject({ apiKey: secret, workspaceId: secret }),
  'zixflow-campaign': z.strictObject({ token: secret }),
} satisfies Record<(typeof providerNames)[number], z.ZodType>

/** What may be set on an account; `credentials` is checked against its provider's schema besides. */
export const accountSettingsSchema = z.strictObject({
  /** Without it, any well-formed credentials are taken for this account. */
  credentials: z.record(z.string(), z.string()).optional(),
  /** How many messages it can still pay for; without it, no end. */
  balance: z.number().int().min(0).optional(),
  rateLimit: rateLimitSchema.optional(),
  /** Where receipts go, for the systems that are not told with the message (Kaleyra, Gupshup). */
  receiptUrl: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  /** Put into that address as `token`, unless it has one. */
  receiptToken: z.string().min(1).optional(),
  receiptHeaders: z.record(z.string(), z.string()).optional(),
})

export type AccountSettings = z.infer<typeof accountSettingsSchema>

export const accountSchema = accountSettingsSchema
  .extend({
    provider: z.enum(providerNames),
    /** The sender: Kaleyra's phone number in digits, Gupshup's app id, Zixflow's phone id. */
    account: z.string().min(1).max(100),
  })
  .superRefine((account, context) => {
    for (const issue of credentialIssues(account.provider, account.credentials)) {
      context.addIssue({ code: 'custom', path: ['credentials', ...issue.path], message: issue.message })
    }
  })

export type RegisteredAccount = z.infer<typeof accountSchema>

/** What is wrong with credentials of this provider; nothing where there are none. */
export function credentialIssues(provider: keyof typeof credentialSchemas, credentials: unknown) {
  if (credentials === undefined) return []
  return credentialSchemas[provider].safeParse(credentials).error?.issues ?? []
}
