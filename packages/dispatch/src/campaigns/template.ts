/**
 * The message of a campaign: WhatsApp's message object, any text in which may hold `{{name}}`, filled from the
 * recipient's row.
 *
 * - placeholder: `{{name}}`; the name is any text without braces, trimmed. `}}` alone is text: nested JSON ends so.
 * - fixed text: a text without its placeholders; every recipient gets it.
 * - trial: the message filled with made-up values, to find what is wrong with it for every recipient.
 */
import { type Content, contentSchema, type Issue, type Provider, plainTexts } from '@wa-dispatch/providers'
import { z } from 'zod'

export type Variables = Readonly<Record<string, string>>

/** Why a row cannot be sent. */
export interface Refusal {
  reason: 'missing_variable' | 'content'
  /** From the row or from the campaign: `variables.name`, `message.interactive.body.text`. */
  path: string
  /** Begins with the path; for whoever wrote the row. */
  message: string
}

export interface Template {
  /** The placeholders' names, in order of first use. */
  variables: readonly string[]
  /**
   * Fills it in; what comes out is checked exactly as a single message's content is.
   * @returns the content as it can be sent, or why it cannot
   */
  render(variables: Variables): { content: Content } | { refusal: Refusal }
  /** @returns undefined for a row that can be sent */
  check(variables: Variables): Refusal | undefined
  /** @throws RangeError for a row that `check` refuses */
  fill(variables: Variables): Content
}

const MAXIMUM_NAME = 64
/** Bounds what one row costs, whatever the campaign's message is. */
const MAXIMUM_PLACEHOLDERS = 100
const MAXIMUM_ISSUES = 50
/** No content is nested as deeply: the schema refuses what lies below, and the stack stays short. */
const MAXIMUM_DEPTH = 12

/**
 * At creation: what can be known without a recipient.
 * @param message WhatsApp's message object, not validated yet
 * @param provider the account's: it may carry less than WhatsApp does
 * @returns issues for what cannot be right whatever a row says; paths are within the message
 */
export function compileTemplate(
  message: unknown,
  provider: Provider,
): { template: Template } | { issues: Issue[] } {
  const texts = new Map<string, Text>()
  const issues = readTexts(message, [], texts)
  const names = [...texts.values()].flatMap((text) => text.names)
  const variables = [...new Set(names)]
  if (names.length > MAXIMUM_PLACEHOLDERS) {
    const limit = `at most ${MAXIMUM_PLACEHOLDERS} placeholders; this has ${names.length}`
    issues.push({ path: [], message: limit })
  }
  if (issues.length === 0) issues.push(...certainIssues(message, texts, variables, provider))
  if (issues.length > 0) return { issues: issues.slice(0, MAXIMUM_ISSUES) }
  return { template: templateOf(variables, filler(message, [], texts) ?? (() => message), texts, provider) }
}

function templateOf(
  variables: readonly string[],
  fillIn: (values: Variables) => unknown,
  texts: ReadonlyMap<string, Text>,
  provider: Provider,
): Template {
  function render(values: Variables): { content: Content } | { refusal: Refusal } {
    for (const name of variables) {
      if (!Object.hasOwn(values, name)) return { refusal: missing(name) }
    }
    // All of it, not what changed: what is accepted is what a single message may be.
    const parsed = contentSchema.safeParse(fillIn(values))
    if (!parsed.success) return { refusal: unfit(flatten(parsed.error.issues)[0]!) }
    const [issue] = provider.refuse(parsed.data)
    return issue ? { refusal: unfit(issue) } : { content: parsed.data }
  }
  const isSurelyFit = byLengthsAlone(variables, texts, render)
  return {
    variables,
    render,
    check(values) {
      if (isSurelyFit?.(values)) return undefined
      const result = render(values)
      return 'refusal' in result ? result.refusal : undefined
    },
    fill(values) {
      const result = render(values)
      if ('refusal' in result) throw new RangeError(result.refusal.message)
      return result.content
    },
  }
}

/**
 * Where rows fill in nothing but plain texts, and the message is fit with one row, it is with every row whose texts are
 * within their lengths: most rows of most campaigns, for a tenth of the time.
 * @returns undefined where there is more to it
 */
function byLengthsAlone(
  variables: readonly string[],
  texts: ReadonlyMap<string, Text>,
  render: Template['render'],
): ((values: Variables) => boolean) | undefined {
  const rules: { text: Text; maximum: number }[] = []
  for (const [key, text] of texts) {
    const maximum = plainTexts.get((JSON.parse(key) as Path).join('.'))
    if (maximum === undefined) return undefined
    rules.push({ text, maximum })
  }
  if ('refusal' in render(Object.fromEntries(variables.map((name) => [name, 'a'])))) return undefined
  return (values) =>
    variables.every((name) => Object.hasOwn(values, name)) &&
    rules.every(({ text: { fixed, names }, maximum }) => {
      let length = 0
      for (const part of fixed) length += part.length
      for (const name of names) length += values[name]!.length
      // No text has more characters than code units.
      return length > 0 && length <= maximum
    })
}

function missing(name: string): Refusal {
  const path = z.core.toDotPath(['variables', name])
  return { reason: 'missing_variable', path, message: `${path}: is missing` }
}

function unfit({ path: within, message }: Issue): Refusal {
  const path = z.core.toDotPath(['message', ...within])
  return { reason: 'content', path, message: `${path}: ${message} (after filling in)` }
}

// ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A text with placeholders: fixed[0] name[0] fixed[1] … name[n-1] fixed[n]. */
interface Text {
  fixed: string[]
  names: string[]
}

type Path = readonly (string | number)[]

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null
const keyOf = (path: Path) => JSON.stringify(path)
const childrenOf = (value: object, path: Path): [string | number, unknown, Path][] =>
  Object.entries(value).map(([key, child]) => {
    const step = Array.isArray(value) ? Number(key) : key
    return [step, child, [...path, step]]
  })

/** Collects the texts that hold placeholders, by their path; says which are malformed or where none may be. */
function readTexts(value: unknown, path: Path, into: Map<string, Text>): Issue[] {
  if (isContainer(value)) {
    if (path.length > MAXIMUM_DEPTH) return []
    return childrenOf(value, path).flatMap(([step, child, childPath]) =>
      typeof step === 'string' && step.includes('{{')
        ? [{ path: [...childPath], message: "a field's name holds no placeholders" }]
        : readTexts(child, childPath, into),
    )
  }
  if (typeof value !== 'string' || !value.includes('{{')) return []
  if (path.at(-1) === 'type') {
    return [{ path: [...path], message: 'a type is the same for all recipients: it holds no placeholders' }]
  }
  const text = readText(value)
  if (typeof text === 'string') return [{ path: [...path], message: text }]
  into.set(keyOf(path), text)
  return []
}

/** @returns the text in its parts, or what is wrong with it */
function readText(source: string): Text | string {
  const text: Text = { fixed: [], names: [] }
  let from = 0
  for (let open = source.indexOf('{{'); open >= 0; open = source.indexOf('{{', from)) {
    const close = source.indexOf('}}', open)
    if (close < 0) return 'a placeholder is opened with {{ and not closed with }}'
    const name = source.slice(open + 2, close).trim()
    if (name === '') return 'a placeholder without a name: write {{name}}'
    if (/[{}]/.test(name))
      return 'a placeholder is {{name}}, with two braces on each side and none in its name'
    if ([...name].length > MAXIMUM_NAME) return `a placeholder's name has at most ${MAXIMUM_NAME} characters`
    text.fixed.push(source.slice(from, open))
    text.names.push(name)
    from = close + 2
  }
  text.fixed.push(source.slice(from))
  return text
}

// ── Filling in ──────────────────────────────────────────────────────────────────────────────────────────────────────

type Filler = (values: Variables) => unknown

/** Copies along the paths to placeholders only. @returns undefined where nothing is to be filled in */
function filler(value: unknown, path: Path, texts: ReadonlyMap<string, Text>): Filler | undefined {
  const text = texts.get(keyOf(path))
  if (text) return (values) => join(text, values)
  if (!isContainer(value) || path.length > MAXIMUM_DEPTH) return undefined
  const changing = childrenOf(value, path).flatMap(([step, child, childPath]) => {
    const fillIn = filler(child, childPath, texts)
    return fillIn ? [{ step, fillIn }] : []
  })
  if (changing.length === 0) return undefined
  return (values) => {
    const copy = (Array.isArray(value) ? value.slice() : { ...value }) as Record<string | number, unknown>
    for (const { step, fillIn } of changing) copy[step] = fillIn(values)
    return copy
  }
}

function join({ fixed, names }: Text, values: Variables): string {
  let joined = fixed[0]!
  for (let index = 0; index < names.length; index++) joined += values[names[index]!]! + fixed[index + 1]!
  return joined
}

// ── What is wrong for every recipient ───────────────────────────────────────────────────────────────────────────────

/** One value for all variables: an issue that depends on the values is missing from one trial or another. */
const TRIAL_VALUES = ['', 'a', '1', '😀', 'https://shop.example/']
/** And each variable with a value of its own: what is the same even then is the same for every row. */
const FIRST_PRIVATE_CHARACTER = 0xe000

/**
 * The issues that every trial meets. Where no made-up value can be right, in links and emoji, the whole text is
 * replaced by one that is right unless the fixed text is already wrong.
 */
function certainIssues(
  message: unknown,
  texts: ReadonlyMap<string, Text>,
  variables: readonly string[],
  provider: Provider,
): Issue[] {
  const replaced = new Map<string, Text>()
  for (const [key, text] of texts) {
    const replace = REPRESENTATIVES[JSON.parse(key).at(-1) as string]
    replaced.set(key, replace ? { fixed: [replace(text)], names: [] } : text)
  }
  const fillIn = filler(message, [], replaced) ?? (() => message)
  const privateCharacter = (index: number) => String.fromCharCode(FIRST_PRIVATE_CHARACTER + index)
  const trials = [
    ...TRIAL_VALUES.map((value) => variables.map((name) => [name, value])),
    variables.map((name, index) => [name, privateCharacter(index)]),
  ].map((entries) => fillIn(Object.fromEntries(entries)))
  const unfitting = trials.map((trial) => flatten(contentSchema.safeParse(trial).error?.issues ?? []))
  const certain = inAll(unfitting)
  // Texts aside, the trials have the right shape by now, which is all that a provider may expect.
  return certain.length > 0 ? certain : inAll(trials.map((trial) => provider.refuse(trial as Content)))
}

function inAll([first = [], ...others]: Issue[][]): Issue[] {
  // Numbers in the words are lengths, which differ.
  const kindOf = ({ path, message }: Issue) => JSON.stringify([path, message.replace(/\d+/g, '#')])
  const kinds = others.map((issues) => new Set(issues.map(kindOf)))
  return first.filter((issue) => kinds.every((set) => set.has(kindOf(issue))))
}

/** By the name of a field. */
const REPRESENTATIVES: Readonly<Record<string, (text: Text) => string>> = {
  link: representativeLink,
  emoji: representativeEmoji,
}

/** A link with all that is certain about its beginning, its white space and its length. */
function representativeLink({ fixed }: Text): string {
  // The schema trims links and drops tabs and line ends inside them; what the rest has between its ends stays.
  const kept = fixed
    .join('')
    .trim()
    .replace(/[\t\n\r]/g, '')
  if (/\s/.test(kept)) return kept
  const start = fixed[0]!.trimStart()
  const scheme = start.slice(0, 'https://'.length).toLowerCase()
  const mayBeWeb = ['http://', 'https://'].some((web) => web.startsWith(scheme) || scheme.startsWith(web))
  if (!mayBeWeb) return start
  // A host is known once something fixed ends it; URL parsers skip any more slashes before it.
  const known =
    /^https?:\/\/[/\\\t\n\r]*[^/?#\\\t\n\r][^/?#\\]*[/?#\\]/i.exec(start)?.[0] ?? 'https://shop.example/'
  return known.padEnd(kept.length, 'x')
}

/** Every emoji is made of these, and in none do two pictographs follow each other without a joiner. */
const partOfEmoji = /^[\p{Emoji}\p{Emoji_Component}\p{Extended_Pictographic}\p{Surrogate}]*$/u
const twoEmoji = /\p{Extended_Pictographic}\uFE0F?\p{Extended_Pictographic}/u

function representativeEmoji({ fixed }: Text): string {
  const wrong = fixed.find((part) => !partOfEmoji.test(part) || twoEmoji.test(part))
  return wrong ?? '😀'
}

// ── Words ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** One issue a place; of the ways in which something could have been written, the nearest. */
function flatten(issues: readonly z.core.$ZodIssue[], before: Path = []): Issue[] {
  return issues.flatMap((issue) => {
    const path = [...before, ...(issue.path as (string | number)[])]
    switch (issue.code) {
      case 'unrecognized_keys':
        return issue.keys.map((key) => ({ path: [...path, key], message: 'this field is not known here' }))
      case 'invalid_union': {
        if (issue.errors.length === 0) return [{ path, message: issue.message }]
        const nearest = issue.errors.reduce((best, one) => (one.length < best.length ? one : best))
        return flatten(nearest, path)
      }
      case 'invalid_type':
        return [{ path, message: typeWords(issue.message) }]
      default:
        return [{ path, message: issue.message }]
    }
  })
}

const typeWords = (message: string) =>
  message.endsWith('received undefined') ? 'is required' : message.replace(/^Invalid input: /, '')
