/** The request and answer of Zixflow's older campaign API, as on its page for reply buttons. */
import { z } from 'zod'
import { address, bodyText, headerText } from '../account-fields.ts'
import type { Content, ReplyButtons } from '../content.ts'
import { outcomeByStatus } from '../fall-through.ts'
import { looseId, looseText } from '../json.ts'
import type { Answer, WireRequest } from '../json-provider.ts'
import { outcomeOf } from '../outcomes.ts'
import type { Issue, OutboundMessage, SendOutcome } from '../provider.ts'
import { rowOf } from './outcomes.ts'

export const accountSchema = z.strictObject({
  /** Goes into `Authorization` after `Bearer`. */
  token: headerText,
  /** Of the sending number: "Zixflow WhatsApp Settings page". */
  phoneId: bodyText,
})

export type ZixflowCampaignAccount = z.infer<typeof accountSchema>

type Header = NonNullable<ReplyButtons['interactive']['header']>

/** Media of a header; undefined for a text. */
function mediaOf(header: Header) {
  switch (header.type) {
    case 'text':
      return undefined
    case 'image':
      return header.image
    case 'video':
      return header.video
    case 'document':
      return header.document
  }
}

export function refuse(content: Content): Issue[] {
  if (content.type === 'reaction') {
    return [{ path: ['type'], message: 'this provider sends reply buttons only' }]
  }
  const { header } = content.interactive
  const media = header && mediaOf(header)
  if (!header || !media) return []
  const path = ['interactive', 'header', header.type]
  const issues: Issue[] = []
  if ('id' in media) {
    issues.push({ path: [...path, 'id'], message: 'this provider takes media by link only' })
  }
  if ('filename' in media && media.filename !== undefined) {
    issues.push({ path: [...path, 'filename'], message: 'this provider has no field for a file name' })
  }
  return issues
}

/** Media is a plain URL here, where WhatsApp's object has `{ link }`. */
function headerOf(header: Header) {
  const media = mediaOf(header)
  return media && 'link' in media ? { type: header.type, [header.type]: media.link } : header
}

/**
 * `source`, `linkWithRecord` and `submissionStatus` stay at their defaults. A button's `title` is a string: the
 * document says object, but WhatsApp has a string and shows it (guess).
 */
export function request(
  { to, content }: OutboundMessage,
  { baseUrl, token, phoneId }: ZixflowCampaignAccount & { baseUrl: string },
): WireRequest {
  // A reaction never comes this far: `refuse` says so before it is accepted.
  if (content.type === 'reaction') throw new TypeError('zixflow-campaign cannot send a reaction')
  const { header, ...interactive } = content.interactive
  return {
    url: address(baseUrl, 'api', 'v1', 'campaign', 'whatsapp', 'message', 'send'),
    headers: { authorization: `Bearer ${token}` },
    json: {
      to,
      phoneId,
      type: content.type,
      interactive: { ...interactive, ...(header && { header: headerOf(header) }) },
    },
  }
}

/** No request id is documented; their SDK's types have an optional `messageId`. */
const replySchema = z.object({
  status: z.boolean().nullish().catch(undefined),
  message: looseText,
  messageId: looseId,
})

export function read({ status, body, retryAfterMs }: Answer): SendOutcome | undefined {
  const parsed = replySchema.safeParse(body)
  if (!parsed.success) return undefined
  const { status: flag, message, messageId: requestId } = parsed.data
  const row = rowOf(flag, status)
  if (row) return outcomeOf(row, { code: `HTTP_${status}`, message, retryAfterMs, requestId, status })
  return outcomeByStatus({ status, message, retryAfterMs })
}
