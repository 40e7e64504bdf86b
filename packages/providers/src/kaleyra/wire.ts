/** Kaleyra's request and answer, as in "Send Reaction Messages" (v2). */
import { z } from 'zod'
import { address, digits, headerText, pathPart } from '../account-fields.ts'
import { outcomeByStatus } from '../fall-through.ts'
import { looseId, looseText } from '../json.ts'
import type { Answer, WireRequest } from '../json-provider.ts'
import { outcomeOf } from '../outcomes.ts'
import type { OutboundMessage, SendOutcome } from '../provider.ts'
import { whatsappOutcome } from '../whatsapp-codes.ts'
import { outcomes, rowName } from './outcomes.ts'

export const accountSchema = z.strictObject({
  /** Account SID. */
  sid: pathPart,
  apiKey: headerText,
  /**
   * The business number that sends. The document's table calls the path's `phone_number` the end customer's,
   * but `WA401` speaks of a number that belongs to the account.
   */
  sender: digits,
})

export type KaleyraAccount = z.infer<typeof accountSchema>

export function request(
  { id, to, content }: OutboundMessage,
  { baseUrl, sid, apiKey, sender }: KaleyraAccount & { baseUrl: string },
): WireRequest {
  return {
    url: address(baseUrl, 'v2', sid, 'whatsapp', sender, 'messages'),
    headers: { 'api-key': apiKey, 'cache-control': 'no-cache' },
    json: {
      messaging_object: {
        messaging_product: 'whatsapp',
        recipient_type: 'individual',
        // With the plus of their sample. The field takes several numbers, but no document says what a partial
        // failure looks like: always one.
        to: `+${to}`,
        ...content,
      },
      // Comes back in reports and callbacks, so that a receipt finds its message although the answer was lost.
      extra_info: { ref: id },
    },
  }
}

/** `data` is an object, or an empty array on some errors; `error` names what is at fault. */
const replySchema = z.object({
  code: looseText,
  message: looseText,
  data: z.object({ message_id: looseId }).nullish().catch(undefined),
  error: z.record(z.string(), z.unknown()).nullish().catch(undefined),
})

export function read({ status, success, body, retryAfterMs }: Answer): SendOutcome | undefined {
  const parsed = replySchema.safeParse(body)
  if (!parsed.success) return undefined
  const { data, error } = parsed.data
  const code = parsed.data.code || undefined
  const requestId = data?.message_id
  if (success && requestId) {
    return outcomeOf(outcomes.accepted, { code: code ?? `HTTP_${status}`, requestId })
  }
  const message = parsed.data.message ?? firstText(error)
  const names = Object.keys(error ?? {})
  const name = code && rowName(code, names)
  if (code && name) return outcomeOf(outcomes[name], { code, message, retryAfterMs, status })
  const fromWhatsapp = whatsappOutcome(body, status, retryAfterMs)
  if (fromWhatsapp) return fromWhatsapp
  // An unknown code in their own shape: with a named error their application says that it failed.
  const saysFailed = code !== undefined && names.length > 0
  return outcomeByStatus({ status, code, message, retryAfterMs, saysFailed })
}

function firstText(error: Record<string, unknown> | null | undefined): string | undefined {
  return Object.values(error ?? {}).find((value) => typeof value === 'string')
}
