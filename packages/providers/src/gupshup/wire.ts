/** Gupshup's request and answer, as in Partner API v3, "Send Message with Reaction". */
import { z } from 'zod'
import { address, headerText, pathPart } from '../account-fields.ts'
import { outcomeByStatus } from '../fall-through.ts'
import { looseId, looseText } from '../json.ts'
import type { Answer, WireRequest } from '../json-provider.ts'
import { outcomeOf } from '../outcomes.ts'
import type { OutboundMessage, SendOutcome } from '../provider.ts'
import { whatsappOutcome } from '../whatsapp-codes.ts'
import { outcomes, rowName } from './outcomes.ts'

export const accountSchema = z.strictObject({
  appId: pathPart,
  /** Partner app token; it goes into `Authorization` bare, without `Bearer`. */
  token: headerText,
})

export type GupshupAccount = z.infer<typeof accountSchema>

/** Nothing in this body is echoed, so our id does not travel with it. */
export function request(
  { to, content }: OutboundMessage,
  { baseUrl, appId, token }: GupshupAccount & { baseUrl: string },
): WireRequest {
  return {
    url: address(baseUrl, 'partner', 'app', appId, 'v3', 'message'),
    headers: { authorization: token },
    json: { messaging_product: 'whatsapp', recipient_type: 'individual', to, ...content },
  }
}

const replySchema = z.object({
  messages: z
    .array(z.object({ id: looseId }).nullish().catch(undefined))
    .nullish()
    .catch(undefined),
  status: looseText,
  message: looseText,
})

export function read({ status, success, body, retryAfterMs }: Answer): SendOutcome | undefined {
  const parsed = replySchema.safeParse(body)
  if (!parsed.success) return undefined
  const { message, status: verdict } = parsed.data
  const requestId = parsed.data.messages?.[0]?.id
  const code = `HTTP_${status}`
  if (success && requestId) return outcomeOf(outcomes.accepted, { code, requestId })
  const saysFailed = verdict?.toLowerCase() === 'error'
  const name = saysFailed ? rowName(status, message ?? '') : undefined
  if (name) return outcomeOf(outcomes[name], { code, message, retryAfterMs, status })
  return (
    whatsappOutcome(body, status, retryAfterMs) ??
    outcomeByStatus({ status, message, retryAfterMs, saysFailed })
  )
}
