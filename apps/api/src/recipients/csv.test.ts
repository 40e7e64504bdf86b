import { describe, expect, test } from 'vitest'
import { type Outcome, readEveryWay } from './testing.ts'

const csv = (file: Buffer | string, limits = {}) => readEveryWay(file, { format: 'csv', limits })

async function expectEveryWay(file: Buffer | string, expected: Partial<Outcome>, limits = {}): Promise<void> {
  for (const outcome of await csv(file, limits)) {
    expect(outcome.fault).toBeUndefined()
    expect(outcome).toMatchObject(expected)
  }
}

async function expectFault(
  file: Buffer | string,
  line: number | undefined,
  message: RegExp,
  lines: number[] = [],
) {
  for (const { rows, fault } of await csv(file, { rowBytes: 1_000 })) {
    expect(fault).toMatchObject({ name: 'UnreadableFileError', line })
    expect(fault?.message).toMatch(message)
    expect(rows.map((row) => row.line)).toEqual(lines)
  }
}

const ASHA = { line: 2, to: '919876543210', variables: { name: 'Asha' } }

describe('a CSV file', () => {
  test('gives a row a line, with its variables and its reference', () =>
    expectEveryWay('name,to,reference,order\nAsha,919876543210,r-1,77\nRavi,+919876543211,,\n', {
      rows: [
        { line: 2, to: '919876543210', reference: 'r-1', variables: { name: 'Asha', order: '77' } },
        { line: 3, to: '919876543211', variables: { name: 'Ravi', order: '' } },
      ],
      refused: [],
    }))

  test('may have CRLF, a byte order mark, spaces in its header, blank lines, and no end to its last line', () =>
    expectEveryWay('\ufeff to , name \r\n\r\n919876543210,Asha\r\n\r\n\r\n919876543211,Zoë 😀', {
      rows: [
        { ...ASHA, line: 3 },
        { line: 6, to: '919876543211', variables: { name: 'Zoë 😀' } },
      ],
      refused: [],
    }))

  test.each(['\n', '\r\n'])('counts its lines past cells of several lines (%j)', (newline) =>
    expectEveryWay(
      ['to,name', '1234567,"a', 'b,""c""', '"', '', '"1234568","x"', '12,"y', 'z"', '1234569,end'].join(
        newline,
      ),
      {
        rows: [
          { line: 2, to: '1234567', variables: { name: `a${newline}b,"c"${newline}` } },
          { line: 6, to: '1234568', variables: { name: 'x' } },
          { line: 9, to: '1234569', variables: { name: 'end' } },
        ],
        refused: [{ line: 7, reason: 'to' }] as never,
      },
    ),
  )

  test('is read on past rows that do not fit, each with its line and a reason', () =>
    expectEveryWay(
      `to,name,reference\n12,x,\n,x,\n919876543210,x\n919876543210,x,y,z\n919876543210,x,${'r'.repeat(256)}\n919876543210,Asha,\n`,
      {
        rows: [{ ...ASHA, line: 7 }],
        refused: [
          {
            line: 2,
            reason: 'to',
            message: 'to is not an E.164 number: 7 to 15 digits with the country code, no leading 0',
          },
          { line: 3, reason: 'to', message: 'to is missing' },
          { line: 4, reason: 'columns', message: '2 cells where the header has 3 columns' },
          { line: 5, reason: 'columns', message: '4 cells where the header has 3 columns' },
          { line: 6, reason: 'reference', message: 'reference is not a string of 1 to 255 characters' },
        ],
      },
    ))
})

describe('a CSV file that cannot be read', () => {
  const row = '919876543210,Asha\n'

  test.each([
    ['semicolons', 'to;name\n919876543210;Asha\n', /semicolons: separate them by commas/],
    ['tabs', 'to\tname\n919876543210\tAsha\n', /tabs/],
    ['vertical bars', 'to|name\n919876543210|Asha\n', /vertical bars/],
    ['no column to', `phone,name\n${row}`, /no column "to" in the header; it has "phone,name"/],
    ['a column twice', `to,name, name\n${row}`, /the column "name" twice/],
    ['the column to twice', `to,to\n${row}`, /the column "to" twice/],
    ['a column without a name', `to,\n${row}`, /column 2 of the header has no name/],
    ['a name that is no key', `to,__proto__\n${row}`, /cannot be called __proto__/],
    ['bare CR', `to,name\r919876543210,Asha\r`, /bare CR/],
    ['bare CR, long', 'to,name\r'.repeat(200), /bare CR/],
    ['NDJSON', '{"to":"919876543210"}\n', /JSON but was sent as CSV|application\/x-ndjson/],
  ])('says so: %s', (_name, file, message) => expectFault(file, 1, message))

  test('because a quote is never closed: names the line where it opens', async () => {
    const head = `to,name\n${row}`
    await expectFault(
      `${head}919876543211,"Ravi\n919876543212,Mala\n`,
      3,
      /opens on line 3 is never closed/,
      [2],
    )
    await expectFault(`${head}919876543211,"Ravi\n919876543212,"Mala"\n`, 3, /opens on line 3/, [2])
    await expectFault(`${head}"1234567\n","Ravi\n`, 4, /opens on line 4 is never closed/, [2])
    await expectFault(`${head}"`, 3, /opens on line 3 is never closed/, [2])
    await expectFault(
      `${head}919876543211,"${'long\n'.repeat(300)}`,
      3,
      /line 3 is not closed within 1000 bytes/,
      [2],
    )
  })

  test('because a cell has a quote in its middle', () =>
    expectFault(`to,name\n${row}919876543211,5" pipe\n`, 3, /middle of a cell on line 3/, [2]))

  test('because a row is too long', () =>
    expectFault(
      `to,name\n${row}919876543211,${'x'.repeat(2_000)}\n${row}`,
      3,
      /row on line 3 is longer than/,
      [2],
    ))

  test.each([
    ['', /^the file is empty$/, undefined],
    ['\ufeff', /^the file is empty$/, undefined],
    ['\n\r\n\n', /only blank lines/, undefined],
    ['to,name', /a header and no rows/, 2],
    ['to,name\r\n\r\n', /a header and no rows/, 3],
  ])('because there is nothing in it: %j', (file, message, line) => expectFault(file, line, message))
})
