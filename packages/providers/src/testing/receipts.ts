/** The part of the contract that is about receipts: those of the documents, and bodies that no document promises. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { JsonProvider } from '../json-provider.ts'
import { type ReceiptReading, receiptStates } from '../receipt.ts'
import type { ProviderFixtures } from './fixtures.ts'

const nothing = { receipts: [], others: 0, unreadable: 1 }
const textOf = (body: object | string) => (typeof body === 'string' ? body : JSON.stringify(body))

/** Bodies in which no provider has a receipt. */
const foreign: Record<string, string> = {
  'an empty body': '',
  'a page': '<!doctype html><p>hello</p>',
  'half of an object': '{"status":"sent","id":"a',
  null: 'null',
  'a number': '17',
  'a text': '"sent"',
  'an empty object': '{}',
  'an empty list': '[]',
  'the names that every object has': '{"__proto__":{"status":"sent"},"constructor":{"id":"x"},"toString":1}',
  'lists where objects should be':
    '{"meta_object":[],"entry":[[]],"changes":[],"value":[],"status":[],"id":[],"request_id":[]}',
  'a status without any id':
    '{"status":"sent","meta_object":{"value":{"statuses":[{"status":"sent"}]}},"entry":[{"changes":[{"value":{"statuses":[{"status":"sent"}]}}]}]}',
  '5 MB of text': JSON.stringify({ pad: 'x'.repeat(5_000_000) }),
  'lists a hundred thousand deep': '['.repeat(100_000) + ']'.repeat(100_000),
  'objects a hundred thousand deep, with a long number': `${'{"entry":'.repeat(100_000)}1234567890123456789${'}'.repeat(100_000)}`,
}

export function describeReceipts<Account>(
  provider: JsonProvider<Account>,
  fixtures: ProviderFixtures<Account>,
): void {
  const { readReceipts } = provider
  if (!readReceipts) return
  const receipts = fixtures.receipts ?? []

  describe(`${provider.name}: receipts`, () => {
    test.for(receipts)('$name', ({ body, reading }) => {
      expect(readReceipts(textOf(body))).toEqual({ receipts: [], others: 0, unreadable: 0, ...reading })
    })

    test.for(Object.entries(foreign))('there are none in %s', ([, text]) => {
      expect(readReceipts(text)).toEqual(nothing)
    })

    test('several bodies in one list are read one by one', () => {
      const [one] = receipts.filter(({ reading }) => reading.receipts?.length === 1)
      const found = readReceipts(`[${textOf(one?.body ?? '')},7,${textOf(one?.body ?? '')}]`)
      expect(found.receipts).toEqual([...(one?.reading.receipts ?? []), ...(one?.reading.receipts ?? [])])
      expect(found.unreadable).toBe(1)
    })

    test('a status that nobody knows is kept, moves nothing, and is cut', () => {
      const delivered = receipts.filter(
        ({ reading }) => reading.receipts?.length === 1 && reading.receipts[0]?.status === 'delivered',
      )
      expect(delivered).not.toEqual([])
      for (const { body, reading } of delivered) {
        for (const [word, status] of [
          ['Teleported', 'teleported'],
          ['constructor', 'constructor'],
          ['W'.repeat(1_000), 'w'.repeat(40)],
        ] as const) {
          const text = textOf(body).replaceAll(/"delivered"/gi, JSON.stringify(word))
          const { state: _, ...rest } = reading.receipts?.[0] ?? {}
          expect(readReceipts(text)).toMatchObject({ receipts: [{ ...rest, status }] })
          expect(readReceipts(text).receipts[0]).not.toHaveProperty('state')
        }
      }
    })

    test('a body full of statuses does not keep the process busy', () => {
      const statuses = Array.from({ length: 20_000 }, (_, index) => {
        const id = `request-${index}`
        return { status: 'sent', id, gs_id: id, request_id: id }
      })
      const change = { field: 'messages', value: { statuses } }
      const bodies = [{ meta_object: change }, { entry: [{ changes: [change] }] }, statuses]
      const before = performance.now()
      const found = bodies.map((body) => readReceipts(JSON.stringify(body)).receipts.length)
      // Its square would take minutes.
      expect(performance.now() - before).toBeLessThan(10_000)
      expect(Math.max(...found)).toBe(20_000)
    })

    test('whatever is changed in a body, it can be read or is said not to be', () => {
      const key = fc.constantFrom(
        ...keysOf(receipts.map(({ body }) => JSON.parse(textOf(body)))),
        '__proto__',
      )
      const leaf = fc.oneof(
        fc.constantFrom('sent', 'failed', 'read', 'msg_1', 'wamid.1', 1e300, -1, 131009, 'messages'),
        fc.jsonValue({ maxDepth: 1 }),
      )
      const { body } = fc.letrec((tie) => ({
        body: fc.oneof(
          { depthSize: 'large' },
          leaf,
          fc.array(tie('body'), { maxLength: 3 }),
          fc.dictionary(key, tie('body'), { maxKeys: 8 }),
        ),
      }))
      fc.assert(
        fc.property(body, (value) => expectWell(readReceipts(JSON.stringify(value)))),
        { seed: 20261123, numRuns: 500 },
      )
      const known = fc.constantFrom(...receipts.map(({ body: one }) => textOf(one)))
      fc.assert(
        fc.property(
          known,
          fc.nat(),
          fc.constantFrom('', 'null', '[]', '{}', '"x"', '7'),
          (text, at, junk) => {
            expectWell(readReceipts(spoil(text, at, junk)))
          },
        ),
        { seed: 20261123, numRuns: 500 },
      )
    })
  })
}

/** Replaces one value, or one character, of a JSON text. */
function spoil(text: string, at: number, junk: string): string {
  const values = [...text.matchAll(/:("[^"]*"|[\d.]+|\{|\[)/g)]
  const value = values[at % values.length]
  if (!value?.[1] || junk === '') return text.slice(0, at % text.length) + text.slice((at % text.length) + 1)
  const end = value.index + 1
  if (!'{['.includes(value[1])) return text.slice(0, end) + junk + text.slice(end + value[1].length)
  return `${text.slice(0, end)}${junk},"rest":${text.slice(end)}`
}

function expectWell({ receipts, others, unreadable }: ReceiptReading): void {
  expect(receipts.length + others + unreadable).toBeGreaterThan(0)
  for (const receipt of receipts) {
    const { messageId, requestId, wamid, status, state, at, recipient, error } = receipt
    expect([messageId, requestId, wamid].some(Boolean)).toBe(true)
    if (messageId !== undefined) expect(messageId).toMatch(/^msg_\w+$/)
    if (wamid !== undefined) expect(wamid).toMatch(/^wamid\./)
    expect(status).toBe(status.toLowerCase())
    expect(status.length).toBeGreaterThan(0)
    expect(status.length).toBeLessThanOrEqual(40)
    if (state !== undefined) expect(receiptStates).toContain(state)
    if (at !== undefined) expect(Number.isSafeInteger(at)).toBe(true)
    if (recipient !== undefined) expect(recipient).toMatch(/^\d{5,15}$/)
    expect(error !== undefined).toBe(state === 'failed')
    if (error) expect([error.code, error.message]).not.toContain('')
  }
}

function keysOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  const own = Array.isArray(value) ? [] : Object.keys(value)
  return [...new Set([...own, ...Object.values(value).flatMap(keysOf)])]
}
