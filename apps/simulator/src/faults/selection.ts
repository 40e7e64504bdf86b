/** Which messages a rule is about, and how often it applies: the same for faults and for receipts. */
import { z } from 'zod'
import { type MessageType, messageTypes, type ProviderName, providerNames } from '../systems/system.ts'

/** What a rule can look at. */
export interface Subject {
  provider: ProviderName
  account: string
  recipient: string
  type: MessageType
}

export const selectionFields = {
  id: z
    .string()
    .regex(/^[\w-]{1,64}$/, 'letters, digits, _ and -')
    .optional(),
  provider: z.enum(providerNames).optional(),
  account: z.string().optional(),
  /** Exact, digits without a plus sign. */
  recipient: z.string().optional(),
  recipientPrefix: z.string().optional(),
  type: z.enum(messageTypes).optional(),
  /** How often it applies; without it, always. */
  times: z.number().int().min(1).optional(),
  /** How many matching requests it lets pass first. */
  after: z.number().int().min(0).default(0),
  probability: z.number().min(0).max(1).default(1),
}

const selection = z.object(selectionFields)
export type Selection = z.infer<typeof selection>

/** A rule in force. */
export interface Active {
  rule: Selection
  matched: number
  applied: number
  /** A sequence of the rule's own: what other rules draw does not change it. */
  random: () => number
}

/** Whether the rule is about this message. */
export function selects(rule: Selection, subject: Subject): boolean {
  if (rule.provider !== undefined && rule.provider !== subject.provider) return false
  if (rule.account !== undefined && rule.account !== subject.account) return false
  if (rule.type !== undefined && rule.type !== subject.type) return false
  if (rule.recipient !== undefined && !anyRecipient(subject, (one) => one === rule.recipient)) return false
  const prefix = rule.recipientPrefix
  return prefix === undefined || anyRecipient(subject, (one) => one.startsWith(prefix))
}

/** Kaleyra takes several recipients in one request. */
function anyRecipient({ recipient }: Subject, test: (one: string) => boolean): boolean {
  return recipient.includes(',') ? recipient.split(',').some(test) : test(recipient)
}

/** Whether a rule that is about a message applies to it. Counts and chances move on, so ask once a message. */
export function applies(active: Active): boolean {
  const { rule } = active
  active.matched += 1
  if (active.matched <= rule.after) return false
  if (rule.times !== undefined && active.applied >= rule.times) return false
  if (rule.probability < 1 && active.random() >= rule.probability) return false
  active.applied += 1
  return true
}
