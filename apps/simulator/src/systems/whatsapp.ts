/**
 * What WhatsApp itself allows in a message, from Meta's reference for reaction and interactive reply button
 * messages. Three of the systems carry these objects unchanged. This is a reading of its own on purpose:
 * nothing is shared with the adapters, so that a mistake in one of them meets resistance here.
 */
import { z } from 'zod'
import type { Told } from '../receipts/log.ts'
import type { Misfit } from './system.ts'

/** E.164: at most fifteen digits, the first of them not zero. */
export const digitsOnly = z.string().regex(/^[1-9]\d{6,14}$/, 'must be a valid phone number')

/** Text of one to `maximum` characters; a character outside the basic plane counts once. */
export const limitedText = (maximum: number) =>
  z
    .string()
    .min(1, 'is required')
    .refine((value) => value.length <= maximum || [...value].length <= maximum, {
      error: `must be at most ${maximum} characters`,
    })

const oneEmoji = /^(?:\p{RGI_Emoji}|\p{Extended_Pictographic}\uFE0F?)$/v

export const reactionObject = z.strictObject({
  message_id: z.string().min(1, 'is required'),
  // The empty string takes a reaction back.
  emoji: z
    .string()
    .refine((value) => value === '' || oneEmoji.test(value), { error: 'must be a single emoji' }),
})

export const webAddress = z.string().regex(/^https?:\/\/[^\s/?#]+\S*$/i, 'must be an http or https URL')

const media = (extra: Record<string, z.ZodType>) =>
  z.union(
    [z.strictObject({ link: webAddress, ...extra }), z.strictObject({ id: z.string().min(1), ...extra })],
    { error: 'must hold either link or id' },
  )

const headerObject = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text'), text: limitedText(60) }),
  z.strictObject({ type: z.literal('image'), image: media({}) }),
  z.strictObject({ type: z.literal('video'), video: media({}) }),
  z.strictObject({
    type: z.literal('document'),
    document: media({ filename: z.string().min(1).optional() }),
  }),
])

const replyButton = z.strictObject({
  type: z.literal('reply'),
  reply: z.strictObject({ id: limitedText(256), title: limitedText(20) }),
})

interface Button {
  reply: { id: string; title: string }
}

function allDiffer(buttons: Button[], field: 'id' | 'title'): boolean {
  const [first, second, third] = buttons
  if (first === undefined || second === undefined) return true
  if (first.reply[field] === second.reply[field]) return false
  return (
    third === undefined ||
    (third.reply[field] !== first.reply[field] && third.reply[field] !== second.reply[field])
  )
}

/** One to three buttons whose ids and titles differ. */
export const actionObject = z.strictObject({
  buttons: z
    .array(replyButton)
    .min(1, 'must hold 1 to 3 buttons')
    .max(3, 'must hold 1 to 3 buttons')
    .refine((buttons) => allDiffer(buttons, 'id'), { error: 'must not repeat an id' })
    .refine((buttons) => allDiffer(buttons, 'title'), { error: 'must not repeat a title' }),
})

export const bodyObject = z.strictObject({ text: limitedText(1024) })
export const footerObject = z.strictObject({ text: limitedText(60) })

export const interactiveObject = z.strictObject({
  type: z.literal('button'),
  header: headerObject.optional(),
  body: bodyObject,
  footer: footerObject.optional(),
  action: actionObject,
})

/** The first thing wrong with a body, as a sentence that begins with the field's path. */
export function firstProblem(error: z.ZodError, body: unknown): Misfit {
  const issue = error.issues[0]!
  const path = issue.path.join('.')
  if (issue.code === 'unrecognized_keys') {
    return { problem: `${[...issue.path, issue.keys[0]].join('.')} is not allowed` }
  }
  let value: unknown = body
  for (const step of issue.path) value = (value as Record<PropertyKey, unknown> | undefined)?.[step]
  if (value === undefined) return { problem: `${path === '' ? 'body' : path} is required` }
  const text = /^(?:must|is) /.test(issue.message) ? issue.message : `is invalid: ${issue.message}`
  return { problem: `${path === '' ? 'body' : path} ${text}` }
}

/** The `errors` of a status, as WhatsApp's webhooks have them; nothing where there is none. */
export function errorsOf({ code, message }: Pick<Told, 'code' | 'message'>) {
  if (code === undefined && message === undefined) return {}
  return { errors: [{ code, title: message ?? 'Message failed', message: message ?? 'Message failed' }] }
}
