/**
 * The content of a message: the WhatsApp Cloud API's own message object (`type` and the object of that name).
 * Limits are those of WhatsApp's reference for interactive reply buttons and reactions; lengths count characters
 * as a reader sees code points, not bytes.
 */
import { z } from 'zod'

const codePoints = (text: string): number => [...text].length
/** A text has no more code points than code units. */
const isWithin = (text: string, maximum: number): boolean =>
  text.length <= maximum || codePoints(text) <= maximum

const text = (maximum: number) =>
  z
    .string()
    .min(1, 'must not be empty')
    .refine((value) => isWithin(value, maximum), {
      error: (issue) => `at most ${maximum} characters; this has ${codePoints(String(issue.input))}`,
    })
    .meta({ maxLength: maximum })

const lengths = { header: 60, body: 1_024, footer: 60 } as const

/**
 * The texts of a message whose length is all there is to say about them, by their path: their highest numbers of
 * characters. They are at least one long, and what else a message holds does not depend on them.
 */
export const plainTexts: ReadonlyMap<string, number> = new Map([
  ['interactive.header.text', lengths.header],
  ['interactive.body.text', lengths.body],
  ['interactive.footer.text', lengths.footer],
])

/** A single emoji as WhatsApp takes it, or an empty string, which removes an earlier reaction. */
const singleEmoji = /^(?:\p{RGI_Emoji}|\p{Extended_Pictographic}\uFE0F?)?$/v

const emoji = z
  .string()
  .refine((value) => singleEmoji.test(value), 'one emoji, or an empty string to remove the reaction')

const reaction = z.strictObject({
  type: z.literal('reaction'),
  reaction: z.strictObject({
    message_id: z.string().min(1, 'the wamid of the message to react to').max(512),
    emoji,
  }),
})

const mediaLink = z.strictObject({
  link: z
    .httpUrl('an http or https URL')
    .regex(/^\S+$/, 'must not hold spaces: encode them as %20')
    .max(2048),
})
const mediaId = z.strictObject({ id: z.string().min(1).max(256) })
const documentLink = mediaLink.extend({ filename: z.string().min(1).max(240).optional() })
const documentId = mediaId.extend({ filename: z.string().min(1).max(240).optional() })

const header = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text'), text: text(lengths.header) }),
  z.strictObject({ type: z.literal('image'), image: z.union([mediaLink, mediaId]) }),
  z.strictObject({ type: z.literal('video'), video: z.union([mediaLink, mediaId]) }),
  z.strictObject({ type: z.literal('document'), document: z.union([documentLink, documentId]) }),
])

const button = z.strictObject({
  type: z.literal('reply'),
  reply: z.strictObject({ id: text(256), title: text(20) }),
})

const unique = (field: 'id' | 'title') => (buttons: z.infer<typeof button>[]) =>
  new Set(buttons.map((one) => one.reply[field])).size === buttons.length

const replyButtons = z.strictObject({
  type: z.literal('interactive'),
  interactive: z.strictObject({
    type: z.literal('button'),
    header: header.optional(),
    body: z.strictObject({ text: text(lengths.body) }),
    footer: z.strictObject({ text: text(lengths.footer) }).optional(),
    action: z.strictObject({
      buttons: z
        .array(button)
        .min(1, 'one to three buttons')
        .max(3, 'one to three buttons')
        .refine(unique('id'), 'button ids must differ')
        .refine(unique('title'), 'button titles must differ'),
    }),
  }),
})

/** What callers send as `message`. */
export const contentSchema = z.discriminatedUnion('type', [reaction, replyButtons])

export type Content = z.infer<typeof contentSchema>
export type Reaction = z.infer<typeof reaction>
export type ReplyButtons = z.infer<typeof replyButtons>

/**
 * Whether sending it twice leaves the recipient with the same thing as sending it once:
 * the same emoji on the same message is.
 */
export function isIdempotent(content: Content): boolean {
  return content.type === 'reaction'
}
