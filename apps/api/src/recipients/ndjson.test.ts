import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import type { RefusedRow } from './read-rows.ts'
import { type Outcome, readAll, readEveryWay } from './testing.ts'

async function expectEveryWay(file: string, expected: Partial<Outcome>, limits = {}): Promise<void> {
  for (const outcome of await readEveryWay(file, { format: 'ndjson', limits })) {
    expect(outcome.fault).toBeUndefined()
    expect(outcome).toMatchObject(expected)
  }
}

const refused = (...rows: RefusedRow[]) => rows

describe('an NDJSON file', () => {
  test('gives a row a line, with its variables and its reference', () =>
    expectEveryWay(
      '\ufeff{"to":"+919876543210","reference":"r-1","variables":{"name":"Zoë 😀"}}\r\n\r\n  \n{"to":"919876543211"}',
      {
        rows: [
          { line: 1, to: '919876543210', reference: 'r-1', variables: { name: 'Zoë 😀' } },
          { line: 4, to: '919876543211', variables: {} },
        ],
        refused: [],
      },
    ))

  test('may write numbers and booleans, which are taken as they stand there', () =>
    expectEveryWay(
      '{"to":"1234567","variables":{"price":1.50,"id":12345678901234567890,"new":true,"n":"x"}}\n',
      {
        rows: [
          {
            line: 1,
            to: '1234567',
            variables: { price: '1.50', id: '12345678901234567890', new: 'true', n: 'x' },
          },
        ],
      },
    ))

  test.each([
    ['{"to":"12"}', 'to', /^to is not an E.164 number/],
    ['{"to":919876543210}', 'to', /write the digits in quotes/],
    ['{}', 'to', /^to is missing$/],
    ['{"to":"1234567","reference":""}', 'reference', /1 to 255 characters/],
    ['{"to":"1234567","reference":null}', 'reference', /1 to 255 characters/],
    ['{"to":"1234567","name":"x"}', 'fields', /unknown field "name"/],
    ['{"to":"1234567","__proto__":{}}', 'fields', /unknown field "__proto__"/],
    ['{"to":"1234567","variables":{"a":null}}', 'variables', /variable "a"/],
    ['{"to":"1234567","variables":{"b":{}}}', 'variables', /variable "b"/],
    ['{"to":"1234567","variables":{"c":[1]}}', 'variables', /variable "c"/],
    ['{"to":"1234567","variables":{"__proto__":"x"}}', 'variables', /__proto__/],
    ['{"to":"1234567","variables":["x"]}', 'variables', /not an object/],
    ['{"to":"1234567","variables":null}', 'variables', /not an object/],
    ['{"to":"1234567"', 'json', /^not JSON: /],
    ['null', 'json', /not a JSON object/],
    ['"1234567"', 'json', /not a JSON object/],
    ['[]', 'json', /not a JSON object/],
  ])('is read on past a line that does not fit: %s', async (line, reason, message) => {
    for (const outcome of await readEveryWay(`{"to":"1234567"}\n${line}\n{"to":"1234568"}\n`, {
      format: 'ndjson',
    })) {
      expect(outcome.rows.map((row) => row.line)).toEqual([1, 3])
      expect(outcome.refused).toMatchObject([{ line: 2, reason }])
      expect(outcome.refused[0]?.message).toMatch(message)
      expect(outcome.fault).toBeUndefined()
    }
  })

  test('is read on past lines that are too long, counted in bytes', async () => {
    const fits = `{"to":"1234567","variables":{"a":"${'é'.repeat(32)}"}}`
    const longer = fits.replace('é', 'éé')
    const bytes = Buffer.byteLength(fits)
    await expectEveryWay(
      [fits, longer, fits, longer].join('\n'),
      {
        rows: [{ line: 1 }, { line: 3 }] as never,
        refused: refused(
          { line: 2, reason: 'line_too_long', message: `the line is longer than ${bytes} bytes` },
          { line: 4, reason: 'line_too_long', message: `the line is longer than ${bytes} bytes` },
        ),
      },
      { rowBytes: bytes },
    )
  })

  test('is read on past a line of hundreds of megabytes without holding it', async () => {
    const chunk = Buffer.alloc(64 * 1024, 'x')
    const chunks = 8_000
    const before = process.memoryUsage().rss
    let peak = before
    function* file() {
      yield Buffer.from('{"to":"1234567"}\n')
      for (let given = 0; given < chunks; given++) {
        peak = Math.max(peak, process.memoryUsage().rss)
        yield Buffer.from(chunk)
      }
      yield Buffer.from('\n{"to":"1234568"}\n')
    }
    const outcome = await readAll(Readable.from(file()), { format: 'ndjson', gzip: false })
    expect(outcome.rows.map((row) => row.line)).toEqual([1, 3])
    expect(outcome.refused).toMatchObject([{ line: 2, reason: 'line_too_long' }])
    expect(peak - before).toBeLessThan((chunks * chunk.length) / 2)
  })
})

describe('an NDJSON file that cannot be read', () => {
  test.each([
    ['a JSON array', '[\n{"to":"1234567"},\n{"to":"1234568"}\n]', 1, /JSON array: write one object a line/],
    ['CSV', '\nname,to\nAsha,1234567\n', 2, /CSV but was sent as NDJSON/],
    ['only blank lines', '\n \r\n', undefined, /only blank lines/],
    ['nothing', '', undefined, /^the file is empty$/],
  ])('says so: %s', async (_name, file, line, message) => {
    for (const { rows, refused, fault } of await readEveryWay(file, { format: 'ndjson' })) {
      expect(fault).toMatchObject({ name: 'UnreadableFileError', line })
      expect(fault?.message).toMatch(message)
      expect([...rows, ...refused]).toEqual([])
    }
  })
})
