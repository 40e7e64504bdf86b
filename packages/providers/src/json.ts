/** Reading what providers answer: untrusted, often nearly JSON. */
import { z } from 'zod'

/**
 * Parses JSON without losing digits: an integer beyond 2^53 (Zixflow's `message_id`) comes back as a string.
 * @returns undefined for anything that is not JSON.
 */
export function parseJson(text: string): unknown {
  try {
    const source = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
    // A reviver makes parsing several times slower, and few answers hold a number that long.
    return /\d{16}/.test(source) ? JSON.parse(source, keepDigits as Reviver) : JSON.parse(source)
  } catch {
    return undefined
  }
}

type Reviver = (key: string, value: unknown) => unknown

function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value
  const source = context?.source
  return source !== undefined && /^-?\d+$/.test(source) ? source : value
}

/** One string, bracket, colon, comma or literal after optional white space. Sticky: what fits none of them ends the repair. */
const token = /\s*("(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+)/y
const repairLimit = 16_384

/**
 * Parses JSON in which commas between members are missing, as in the sample answer that Kaleyra prints
 * ("Send Reaction Messages", Sample Success Response). Nothing else is repaired.
 * @returns undefined where the text is not JSON even then.
 */
export function parseJsonWithMissingCommas(text: string): unknown {
  const strict = parseJson(text)
  if (strict !== undefined || text.length > repairLimit) return strict
  const source = text.trim()
  const tokens: string[] = []
  for (token.lastIndex = 0; token.lastIndex < source.length; ) {
    const found = token.exec(source)?.[1]
    if (found === undefined) return undefined
    tokens.push(found)
  }
  const repaired = tokens.map((current, index) => {
    const startsMember = current.startsWith('"') && tokens[index + 1] === ':'
    return startsMember && endsValue(tokens[index - 1]) ? `,${current}` : current
  })
  return parseJson(repaired.join(' '))
}

function endsValue(previous: string | undefined): boolean {
  return previous !== undefined && !['{', '[', ',', ':'].includes(previous)
}

/** A field that should be text; providers send numbers at times. Anything else counts as absent. */
export const looseText = z
  .union([z.string(), z.number().transform(String)])
  .nullish()
  .catch(undefined)

/** An id that can be stored and looked up: not empty, not endless, nothing invisible in it. */
export const looseId = looseText.transform((value) =>
  value && /^[^\p{C}\s]{1,512}$/u.test(value) ? value : undefined,
)
