import {
  contentSchema,
  type Provider,
  type ProviderName,
  providerNames,
  providers,
} from '@wa-dispatch/providers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileTemplate, type Template } from './template.ts'

const SEED = 20_261_123
const RUNS = 3_000

const reply = (id: string, title: string) => ({ type: 'reply', reply: { id, title } })
const emojiOf = (emoji: unknown, id: unknown = 'wamid.1') => ({
  type: 'reaction',
  reaction: { message_id: id, emoji },
})
/** Reply buttons with parts of the interactive object replaced. */
const buttonsWith = (part: object = {}) => ({
  type: 'interactive',
  interactive: {
    type: 'button',
    body: { text: 'Does Tuesday suit you?' },
    action: { buttons: [reply('yes', 'Yes'), reply('no', 'No')] },
    ...part,
  },
})
const titled = (...titles: string[]) =>
  buttonsWith({ action: { buttons: titles.map((title, index) => reply(`id-${index}`, title)) } })
const imageOf = (image: unknown) => buttonsWith({ header: { type: 'image', image } })
const bodyOf = (text: unknown) => buttonsWith({ body: { text } })

const compile = (message: unknown, provider: ProviderName = 'kaleyra') =>
  compileTemplate(message, providers[provider] as Provider)

function template(message: unknown, provider?: ProviderName): Template {
  const result = compile(message, provider)
  if ('issues' in result) throw new Error(JSON.stringify(result.issues))
  return result.template
}

const refusedAt = (message: unknown, provider?: ProviderName): string[] => {
  const result = compile(message, provider)
  return 'issues' in result ? result.issues.map(({ path }) => path.join('.')) : []
}

describe('a row is filled in', () => {
  test('wherever the message holds text, also ids, links and emoji', () => {
    expect(template(emojiOf('{{emoji}}', 'wamid.{{id}}')).fill({ emoji: '👍🏽', id: '7' })).toEqual(
      emojiOf('👍🏽', 'wamid.7'),
    )
    expect(
      template(imageOf({ link: 'https://{{host}}/{{file}}.png' })).fill({ host: 'a.example', file: 'x' }),
    ).toEqual(imageOf({ link: 'https://a.example/x.png' }))
    expect(template(titled('{{a}}', '{{ b }}!')).fill({ a: 'Yes', b: 'No' })).toEqual(titled('Yes', 'No!'))
  })

  test('with any header of a column as a name, spaces around it aside', () => {
    const { variables, fill } = template(bodyOf('{{first name}} {{ x.y-z_1 }} {{Größe (cm)}} {{first name}}'))
    expect(variables).toEqual(['first name', 'x.y-z_1', 'Größe (cm)'])
    expect(fill({ 'first name': 'A', 'x.y-z_1': 'B', 'Größe (cm)': 'C' })).toEqual(bodyOf('A B C A'))
  })

  test('and what is filled in stays text: no template, no pattern, no JSON', () => {
    for (const value of ['{{b}}', '{{a}}', '$&$1', '"},{"', '\\', '\n\t', '\ud800', '\u2028', '😀']) {
      const content = template(bodyOf('<{{a}}>')).fill({ a: value, b: 'never' })
      expect(content).toEqual(bodyOf(`<${value}>`))
      expect(JSON.parse(JSON.stringify(content))).toEqual(bodyOf(`<${value}>`))
    }
  })

  test('and braces that are no placeholder stay as they are', () => {
    expect(template(bodyOf('{"a":{"b":{{n}}}} {x} }}')).fill({ n: '1' })).toEqual(
      bodyOf('{"a":{"b":1}} {x} }}'),
    )
  })

  test('and neither the template nor another row changes with it', () => {
    const message = titled('{{a}}', 'No')
    const before = structuredClone(message)
    const { fill } = template(message)
    const first = fill({ a: 'Yes' })
    expect(fill({ a: 'Maybe' })).toEqual(titled('Maybe', 'No'))
    expect(first).toEqual(titled('Yes', 'No'))
    expect(message).toEqual(before)
  })
})

describe('a row that cannot be sent', () => {
  test('lacks a variable: it is named', () => {
    const { check } = template(bodyOf('Hi {{name}}, {{first name}}'))
    expect(check({ 'first name': 'A' })).toEqual({
      reason: 'missing_variable',
      path: 'variables.name',
      message: 'variables.name: is missing',
    })
    expect(check({ name: 'A' })?.path).toBe('variables["first name"]')
  })

  test('does not have what every object has', () => {
    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      const { check } = template(bodyOf(`Hi {{${name}}}`))
      expect(check({})?.reason, name).toBe('missing_variable')
      expect(check(JSON.parse(`{"${name}":"A"}`)), name).toBeUndefined()
    }
  })

  test.for([
    [
      'a title too long',
      titled('Yes {{a}}', 'No'),
      'x'.repeat(23),
      'message.interactive.action.buttons[0].reply.title',
      '27',
    ],
    ['equal titles', titled('{{a}}', 'No'), 'No', 'message.interactive.action.buttons', 'must differ'],
    ['nothing left', bodyOf('{{a}}'), '', 'message.interactive.body.text', 'must not be empty'],
    ['two emoji', emojiOf('😀{{a}}'), '😀', 'message.reaction.emoji', 'one emoji'],
    [
      'no link',
      imageOf({ link: '{{a}}' }),
      'ftp://a.example',
      'message.interactive.header.image.link',
      'URL',
    ],
  ] as const)('has %s: the field and what to do are named', ([, message, value, path, words]) => {
    const { check, fill } = template(message)
    const refusal = check({ a: value })
    expect(refusal).toMatchObject({ reason: 'content', path })
    expect(refusal?.message.startsWith(`${path}: `)).toBe(true)
    expect(refusal?.message).toContain(words)
    expect(() => fill({ a: value })).toThrow(RangeError)
  })

  test('has a value that only this provider refuses', () => {
    const picky: Provider = {
      ...(providers.kaleyra as Provider),
      refuse: (content) =>
        content.type === 'reaction' && content.reaction.emoji === '👎'
          ? [{ path: ['reaction', 'emoji'], message: 'no thumbs down' }]
          : [],
    }
    const result = compileTemplate(emojiOf('{{a}}'), picky)
    if ('issues' in result) throw new Error(JSON.stringify(result.issues))
    expect(result.template.check({ a: '👍' })).toBeUndefined()
    expect(result.template.check({ a: '👎' })?.path).toBe('message.reaction.emoji')
    expect(compileTemplate(emojiOf('👎', '{{a}}'), picky)).toHaveProperty('issues')
  })

  test('is not one whose value is empty where the field allows it', () => {
    expect(template(bodyOf('Hi{{a}}')).check({ a: '' })).toBeUndefined()
    expect(template(emojiOf('{{a}}')).check({ a: '' })).toBeUndefined()
  })
})

describe('creation refuses', () => {
  const long = (name: string, count: number) => `{{${name}}}${'x'.repeat(count)}`
  test.for([
    ['no object', 'Hi {{name}}', ''],
    ['nothing', undefined, ''],
    ['an unknown type', { type: 'text', text: { body: '{{a}}' } }, 'type'],
    ['a type from the row', { type: '{{a}}', reaction: { message_id: 'x', emoji: '' } }, 'type'],
    [
      'an inner type from the row',
      buttonsWith({ header: { type: '{{a}}', text: 'x' } }),
      'interactive.header.type',
    ],
    ['an unknown field', { ...bodyOf('{{a}}'), extra: '{{a}}' }, 'extra'],
    ['a field named by the row', { ...bodyOf('x'), '{{a}}': 'x' }, '{{a}}'],
    [
      'a field that objects have',
      JSON.parse(
        '{"type":"reaction","reaction":{"message_id":"{{a}}","emoji":""},"__proto__":{"x":"{{a}}"}}',
      ),
      '__proto__',
    ],
    ['a text for an object', buttonsWith({ body: '{{a}}' }), 'interactive.body'],
    ['a text for the buttons', buttonsWith({ action: { buttons: '{{a}}' } }), 'interactive.action.buttons'],
    ['a number for a text', emojiOf(7, '{{a}}'), 'reaction.emoji'],
    ['a missing field', { type: 'reaction', reaction: { message_id: '{{a}}' } }, 'reaction.emoji'],
    ['four buttons', titled('{{a}}', '{{b}}', '{{c}}', '{{d}}'), 'interactive.action.buttons'],
    ['titles that are always equal', titled('{{a}}!', '{{ a }}!'), 'interactive.action.buttons'],
    [
      'fixed titles that are equal',
      buttonsWith({ action: { buttons: [reply('{{a}}', 'x'), reply('b', 'x')] } }),
      'interactive.action.buttons',
    ],
    ['a fixed fault beside a placeholder', emojiOf('ab', '{{a}}'), 'reaction.emoji'],
    [
      'a title whose fixed text is too long',
      titled(long('a', 21), 'No'),
      'interactive.action.buttons.0.reply.title',
    ],
    ['a body whose fixed text is too long', bodyOf(long('a', 1025)), 'interactive.body.text'],
    ['a message id whose fixed text is too long', emojiOf('', long('a', 513)), 'reaction.message_id'],
    ['a link of another kind', imageOf({ link: 'ftp://{{a}}' }), 'interactive.header.image.link'],
    [
      'a link to no public host',
      imageOf({ link: 'https://localhost/{{a}}' }),
      'interactive.header.image.link',
    ],
    [
      'a link with a space inside',
      imageOf({ link: 'https://a.example/x y{{a}}' }),
      'interactive.header.image.link',
    ],
    [
      'a link whose fixed text is too long',
      imageOf({ link: `https://a.example/${long('a', 2048)}` }),
      'interactive.header.image.link',
    ],
    ['letters in an emoji', emojiOf('x{{a}}'), 'reaction.emoji'],
    ['two emoji at once', emojiOf('😀😀{{a}}'), 'reaction.emoji'],
    ['no name', bodyOf('{{}}'), 'interactive.body.text'],
    ['an empty name', bodyOf('{{  }}'), 'interactive.body.text'],
    ['no end', bodyOf('Hi {{name'), 'interactive.body.text'],
    ['an end too early', bodyOf('Hi {{name}'), 'interactive.body.text'],
    ['three braces', bodyOf('Hi {{{name}}}'), 'interactive.body.text'],
    ['a placeholder in a placeholder', bodyOf('Hi {{a{{b}}}}'), 'interactive.body.text'],
    ['a name too long', bodyOf(`{{${'x'.repeat(65)}}}`), 'interactive.body.text'],
    ['more placeholders than a message has use for', bodyOf('{{a}}'.repeat(101)), ''],
  ] as [string, unknown, string][])('%s', ([, message, path]) => {
    const result = compile(message)
    expect('issues' in result && result.issues.map((issue) => issue.path.join('.'))).toEqual([path])
    expect('issues' in result && result.issues[0]?.message).toMatch(/\w/)
  })

  test('what the provider cannot carry', () => {
    expect(refusedAt(emojiOf('{{a}}'), 'zixflow-campaign')).toEqual(['type'])
    expect(refusedAt(imageOf({ id: '{{a}}' }), 'zixflow-campaign')).toEqual(['interactive.header.image.id'])
    expect(refusedAt(imageOf({ id: '{{a}}' }), 'gupshup')).toEqual([])
  })

  test('a message nested without end, without a fault of its own', () => {
    const deep = JSON.parse(`${'{"a":'.repeat(50_000)}"{{x}}"${'}'.repeat(50_000)}`)
    expect(refusedAt({ ...bodyOf('{{a}}'), deep })).toEqual(['deep'])
  })
})

test.for([
  ['a whole emoji', emojiOf('{{a}}'), '😀'],
  ['the tone of an emoji', emojiOf('👍{{a}}'), '🏽'],
  ['the key of a keycap', emojiOf('{{a}}\u20e3'), '1\ufe0f'],
  ['half a character', emojiOf('\ud83d{{a}}'), '\ude00'],
  ['a whole link', imageOf({ link: ' {{a}}' }), 'https://a.example/x'],
  ['the scheme of a link', imageOf({ link: '{{a}}://a.example' }), 'https'],
  ['the rest of a scheme', imageOf({ link: 'http{{a}}' }), 's://a.example'],
  ['the end of a host', imageOf({ link: 'https://localhost{{a}}/x' }), '.example'],
  ['a host after slashes', imageOf({ link: 'https:///{{a}}/' }), 'a.example'],
  ['a host after a user', imageOf({ link: 'https://user:{{a}}' }), 'pw@a.example'],
  ['an id of media', imageOf({ id: '{{a}}' }), '1'],
  [
    'a name of a file',
    buttonsWith({ header: { type: 'document', document: { id: '1', filename: '{{a}}' } } }),
    'a.pdf',
  ],
  ['a full title', titled(`{{a}}${'x'.repeat(20)}`, 'No'), ''],
  ['titles that may differ', titled('{{a}}', '{{a}}{{a}}'), 'x'],
] as const)('creation leaves %s to the rows', ([, message, value]) => {
  expect(template(message).check({ a: value })).toBeUndefined()
})

// ── Random templates and rows ───────────────────────────────────────────────────────────────────────────────────────

const names = ['a', 'b', 'first name', '__proto__', 'constructor']
const placeholders = fc.constantFrom(...names.map((name) => `{{${name}}}`), '{{ a }}')
const pieces = fc.oneof(
  fc.constantFrom('', 'x', 'Yes', ' ', '\n', '😀', '\ud83d', '\ude00', '"', '}}', '\u200d', '1'),
  fc.constantFrom('x'.repeat(18), 'x'.repeat(58), 'é'.repeat(255), '😀'.repeat(20), 'y'.repeat(1020)),
  fc.string({ unit: 'binary', maxLength: 6 }).filter((text) => !text.includes('{')),
)
const texts = fc
  .array(fc.oneof({ weight: 2, arbitrary: placeholders }, { weight: 1, arbitrary: pieces }), {
    minLength: 1,
    maxLength: 3,
  })
  .map((parts) => parts.join(''))
const links = fc
  .tuple(
    fc.constantFrom('', ' ', '\t', 'x'),
    fc.constantFrom('https://', 'HTTP://', 'http', 'ftp://', 'ht\ntps://', '{{a}}', '{{a}}://', 'https:/'),
    fc.constantFrom(
      'a.example',
      '{{b}}',
      'user:{{b}}',
      'localhost',
      'a.{{b}}',
      'a.exa\nmple',
      'a.example\\',
      '',
    ),
    fc.constantFrom('', '/', '?', '#', '/{{a}}', '/ ', '/x y', '/x '),
    fc.oneof({ weight: 4, arbitrary: fc.constant('') }, texts),
  )
  .map((parts) => parts.join(''))
const emojis = fc.oneof(
  fc.constantFrom(
    '{{a}}',
    '😀',
    '👍{{a}}',
    '{{a}}{{b}}',
    '❤{{b}}',
    '🇮{{a}}',
    '{{a}}\u20e3',
    '👨\u200d{{a}}',
    '',
  ),
  texts,
)
const media = fc.oneof(
  fc.record({ link: links }),
  fc.record({ id: texts }),
  fc.record({ link: links, filename: texts }),
  fc.record({ id: texts, filename: texts }),
)
const kinds = fc.constantFrom('image', 'video', 'document')
const headers = fc.oneof(
  fc.record({ type: fc.constant('text'), text: texts }),
  fc.tuple(kinds, media).map(([type, value]) => ({ type, [type]: value })),
)
const messages = fc.oneof(
  fc.record({
    type: fc.constant('reaction'),
    reaction: fc.record({ message_id: texts, emoji: emojis }),
  }),
  fc.record({
    type: fc.constant('interactive'),
    interactive: fc.record(
      {
        type: fc.constant('button'),
        header: headers,
        body: fc.record({ text: texts }),
        footer: fc.record({ text: texts }),
        action: fc.record({
          buttons: fc.array(
            fc.tuple(texts, texts).map(([id, title]) => reply(id, title)),
            {
              minLength: 1,
              maxLength: 3,
            },
          ),
        }),
      },
      { requiredKeys: ['type', 'body', 'action'] },
    ),
  }),
)
const values = fc.oneof(
  fc.constantFrom(
    '',
    'x',
    'Yes',
    'No',
    ' ',
    '\u0000',
    '{{a}}',
    '$&',
    '"\\\n',
    '\ud83d',
    '\ude00',
    'x'.repeat(20),
  ),
  fc.constantFrom('😀', '🏽', '\ufe0f', '1\ufe0f', '🇳', '👩', '\u200d👩'),
  fc.constantFrom(
    'https',
    's://',
    'a.example',
    'example',
    'pw@a.example',
    'https://a.example/ä',
    ' https://a.example\n',
  ),
  fc.string({ unit: 'binary', maxLength: 8 }),
)
const rows = fc
  .tuple(...names.map(() => fc.option(values, { nil: undefined, freq: 40 })))
  .map((row) =>
    Object.fromEntries(
      names
        .map((name, index) => [name, row[index]] as const)
        .filter((one): one is readonly [string, string] => one[1] !== undefined),
    ),
  )

/** Filled in by other means: on the message's own texts, one placeholder after another. */
function filledIn(value: unknown, row: Record<string, string>): unknown {
  if (typeof value === 'string') {
    return value
      .split(/(\{\{[^{}]*\}\})/)
      .map((part, index) => (index % 2 ? row[part.slice(2, -2).trim()] : part))
      .join('')
  }
  if (Array.isArray(value)) return value.map((one) => filledIn(one, row))
  return Object.fromEntries(Object.entries(value as object).map(([key, one]) => [key, filledIn(one, row)]))
}

const used = (message: unknown) =>
  names.filter((name) => new RegExp(`\\{\\{ ?${name} ?\\}\\}`).test(JSON.stringify(message)))
const dotted = (path: readonly PropertyKey[]) =>
  path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('')

describe.for(providerNames)('for %s, whatever the template and the row', (name) => {
  const provider = providers[name] as Provider
  const outcomes: Record<string, number> = {}
  const count = (outcome: string) => {
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }

  test('a row gets the answer that the same single message would get; what creation refuses suits no row', () => {
    fc.assert(
      fc.property(messages, fc.array(rows, { minLength: 4, maxLength: 8 }), (message, some) => {
        const result = compileTemplate(message, provider)
        const needed = used(message)
        if ('template' in result) expect([...result.template.variables].sort()).toEqual([...needed].sort())
        for (const row of some) {
          const complete = needed.every((one) => Object.hasOwn(row, one))
          const parsed = complete ? contentSchema.safeParse(filledIn(message, row)) : undefined
          const refused = parsed?.success ? provider.refuse(parsed.data) : []
          const fits = parsed?.success === true && refused.length === 0
          if ('issues' in result) {
            count(`${message.type} refused at creation`)
            expect(fits, JSON.stringify(result.issues)).toBe(false)
            continue
          }
          const refusal = result.template.check(row)
          count(`${message.type} ${refusal?.reason ?? 'fits'}`)
          if (fits) {
            expect(refusal).toBeUndefined()
            expect(JSON.stringify(result.template.fill(row))).toBe(JSON.stringify(parsed.data))
          } else if (complete) {
            const paths = [...(parsed?.error?.issues ?? []), ...refused].map(
              ({ path }) => `message${dotted(path)}`,
            )
            expect(refusal?.reason).toBe('content')
            // A union's issue is on the union, ours is on the field in it.
            expect(paths.some((path) => refusal?.path.startsWith(path))).toBe(true)
          } else {
            expect(refusal?.reason).toBe('missing_variable')
          }
        }
      }),
      { seed: SEED, numRuns: RUNS },
    )
    // Without these the property would say little.
    for (const type of name === 'zixflow-campaign' ? ['interactive'] : ['interactive', 'reaction']) {
      for (const outcome of ['fits', 'content', 'missing_variable', 'refused at creation']) {
        expect(outcomes[`${type} ${outcome}`] ?? 0, `${type} ${outcome}`).toBeGreaterThan(50)
      }
    }
  })
})
