import { describe, expect, test } from 'vitest'
import { contentSchema, isIdempotent } from './content.ts'
import { headers, reaction, replyButtons } from './testing/fixtures.ts'

const emojiOf = (emoji: string) => ({ type: 'reaction', reaction: { message_id: 'wamid.1', emoji } })
const reply = (id: string, title: string) => ({ type: 'reply', reply: { id, title } })

/** Reply buttons with one part replaced. */
function changed(part: object) {
  const content = replyButtons() as { type: string; interactive: object }
  return { ...content, interactive: { ...content.interactive, ...part } }
}

function faultAt(content: unknown): string | undefined {
  return contentSchema.safeParse(content).error?.issues[0]?.path.join('.')
}

describe('content that WhatsApp takes', () => {
  test('reactions with any emoji, or none to remove one', () => {
    for (const emoji of ['😀', '❤️', '❤', '👍🏽', '👨‍👩‍👧', '🇮🇳', '1️⃣', '🏴󠁧󠁢󠁥󠁮󠁧󠁿', '']) {
      expect(faultAt(emojiOf(emoji)), emoji).toBeUndefined()
    }
  })

  test('reply buttons without a header and with each kind', () => {
    for (const header of [undefined, ...Object.values(headers)])
      expect(faultAt(replyButtons(header))).toBeUndefined()
    expect(faultAt(replyButtons({ type: 'image', image: { id: '1' } }))).toBeUndefined()
  })

  test('lengths count characters as a reader sees code points', () => {
    expect(faultAt(changed({ body: { text: '😀'.repeat(1024) } }))).toBeUndefined()
    expect(
      faultAt(changed({ action: { buttons: [reply('i'.repeat(256), '😀'.repeat(20))] } })),
    ).toBeUndefined()
  })
})

describe('content that WhatsApp refuses is refused with the field named', () => {
  test.for([
    ['two emoji', emojiOf('😀😀'), 'reaction.emoji'],
    ['a letter for an emoji', emojiOf('a'), 'reaction.emoji'],
    ['a digit for an emoji', emojiOf('1'), 'reaction.emoji'],
    [
      'no message to react to',
      { type: 'reaction', reaction: { message_id: '', emoji: '😀' } },
      'reaction.message_id',
    ],
    ['a body too long', changed({ body: { text: 'x'.repeat(1025) } }), 'interactive.body.text'],
    ['an empty body', changed({ body: { text: '' } }), 'interactive.body.text'],
    ['a footer too long', changed({ footer: { text: 'x'.repeat(61) } }), 'interactive.footer.text'],
    [
      'a header too long',
      changed({ header: { type: 'text', text: 'x'.repeat(61) } }),
      'interactive.header.text',
    ],
    [
      'a title too long',
      changed({ action: { buttons: [reply('a', 'x'.repeat(21))] } }),
      'interactive.action.buttons.0.reply.title',
    ],
    [
      'an id too long',
      changed({ action: { buttons: [reply('x'.repeat(257), 'a')] } }),
      'interactive.action.buttons.0.reply.id',
    ],
    ['no button', changed({ action: { buttons: [] } }), 'interactive.action.buttons'],
    [
      'four buttons',
      changed({ action: { buttons: ['a', 'b', 'c', 'd'].map((name) => reply(name, name)) } }),
      'interactive.action.buttons',
    ],
    [
      'the same id twice',
      changed({ action: { buttons: [reply('a', 'a'), reply('a', 'b')] } }),
      'interactive.action.buttons',
    ],
    [
      'the same title twice',
      changed({ action: { buttons: [reply('a', 'a'), reply('b', 'a')] } }),
      'interactive.action.buttons',
    ],
  ] as const)('%s', ([, content, path]) => {
    expect(faultAt(content)).toBe(path)
  })

  test('media from anywhere but the web', () => {
    for (const link of ['ftp://a.example/x', 'file:///etc/passwd', 'javascript:alert(1)', 'x', '']) {
      expect(faultAt(changed({ header: { type: 'image', image: { link } } }))).toMatch(
        /^interactive\.header\.image/,
      )
    }
  })

  test('unknown types and fields', () => {
    expect(faultAt({ type: 'text', text: { body: 'x' } })).toBe('type')
    expect(contentSchema.safeParse({ ...reaction, extra: 1 }).success).toBe(false)
    expect(contentSchema.safeParse(changed({ extra: 1 })).success).toBe(false)
  })
})

test('a reaction sent twice is a reaction sent once, buttons are not', () => {
  expect(isIdempotent(reaction)).toBe(true)
  expect(isIdempotent(replyButtons())).toBe(false)
})
