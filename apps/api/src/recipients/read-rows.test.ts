import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ReadOptions, readRows } from './read-rows.ts'
import { type Outcome, readAll, readEveryWay, streamOf } from './testing.ts'

const CSV = 'to,name\n919876543210,Asha\n919876543211,Zoë\n'
const PLAIN: ReadOptions = { format: 'csv', gzip: false }
const GZIP: ReadOptions = { format: 'csv', gzip: true }

const lines = (outcome: Outcome) => outcome.rows.map((row) => row.line)

describe('a file that is not UTF-8 text', () => {
  test.each([
    [
      'Latin-1',
      Buffer.from(CSV, 'latin1'),
      3,
      /line 3 is not UTF-8: save the file as UTF-8 \(it may be Latin-1/,
      [2],
    ],
    ['a character cut off', Buffer.from(CSV).subarray(0, -2), 3, /line 3 is not UTF-8/, [2]],
    ['a zero byte', `${CSV}919876543212,\0\n`, 4, /line 4 has a zero byte/, [2, 3]],
    [
      'an image',
      Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'),
      1,
      /line 1 is not UTF-8.* or no text at all/,
      [],
    ],
    ['UTF-16 with its mark', Buffer.from(`\ufeff${CSV}`, 'utf16le'), 1, /UTF-16: save it as UTF-8/, []],
    ['UTF-16 without', Buffer.from(CSV, 'utf16le'), 1, /UTF-16/, []],
    ['UTF-16, big-endian', Buffer.from(`\ufeff${CSV}`, 'utf16le').swap16(), 1, /UTF-16/, []],
    [
      'a spreadsheet',
      Buffer.from('504b030414000600', 'hex'),
      1,
      /spreadsheet \(\.xlsx\): export it as CSV/,
      [],
    ],
    ['gzip not said to be gzip', gzipSync(CSV), 1, /add Content-Encoding: gzip/, []],
  ])('says what to do: %s', async (_name, file, line, message, before) => {
    for (const outcome of await readEveryWay(file, { format: 'csv' })) {
      expect(outcome.fault).toMatchObject({ name: 'UnreadableFileError', line })
      expect(outcome.fault?.message).toMatch(message)
      expect(lines(outcome)).toEqual(before)
    }
  })

  test('is told from a file whose characters lie across chunks', async () => {
    const rows = Array.from({ length: 200 }, (_, at) => `${1234567 + at},${'aé€😀'.repeat(at)}\n`).join('')
    const outcomes = await readEveryWay(`to,name\n${rows}`, { format: 'csv' })
    for (const outcome of outcomes) {
      expect(outcome.fault).toBeUndefined()
      expect(outcome.rows.map((row) => row.variables.name)).toEqual(
        Array.from({ length: 200 }, (_, at) => 'aé€😀'.repeat(at)),
      )
    }
  })
})

describe('a gzip file', () => {
  test('may be several, one after the other', async () => {
    const file = Buffer.concat([gzipSync(CSV.slice(0, 20)), gzipSync(CSV.slice(20)), gzipSync('')])
    for (const chunkBytes of [1, 2, 5, file.length]) {
      const outcome = await readAll(streamOf(file, chunkBytes), GZIP)
      expect(outcome.fault).toBeUndefined()
      expect(lines(outcome)).toEqual([2, 3])
    }
  })

  test('that was cut off never passes for a whole one', async () => {
    const file = gzipSync(CSV)
    for (let end = 1; end < file.length; end++) {
      for (const chunkBytes of [1, end]) {
        const { fault } = await readAll(streamOf(file.subarray(0, end), chunkBytes), GZIP)
        expect(fault?.message).toBe('the gzip file is cut off: send all of it again')
      }
    }
  })

  test('that is none, or is damaged, says so', async () => {
    expect((await readAll(streamOf(CSV), GZIP)).fault?.message).toMatch(/^this is not a gzip file/)
    const damaged = gzipSync(CSV)
    damaged[damaged.length - 8]! ^= 1
    expect((await readAll(streamOf(damaged), GZIP)).fault?.message).toMatch(/^the gzip file is damaged/)
  })

  test('that is a bomb is not inflated to its end', async () => {
    const rows = 8 * 1024 ** 2
    const bomb = gzipSync(`to\n${'1234567\n'.repeat(rows)}`)
    let read = 0
    const reading = async () => {
      for await (const batch of readRows(streamOf(bomb, 4096), GZIP)) read += batch.rows.length
    }
    await expect(reading()).rejects.toThrow(/more than 200 times its size/)
    expect(read).toBeGreaterThan(0)
    expect(read).toBeLessThan(rows / 2)
  })

  test('that inflates beyond the limit is read no further', async () => {
    const file = gzipSync(`${CSV}${'1234567,x\n'.repeat(100_000)}`)
    const outcome = await readAll(streamOf(file), { ...GZIP, limits: { inflatedBytes: 300_000 } })
    expect(outcome.fault?.message).toMatch(/inflates to more than 300000 bytes: send it in parts/)
    expect(outcome.rows.length).toBeLessThan(30_000)
  })
})

describe.each([PLAIN, GZIP])('an upload (gzip: $gzip)', (options) => {
  const packed = (file: string) => (options.gzip ? gzipSync(file) : Buffer.from(file))

  test('that breaks off is told from one that ends, and its last row is not taken', async () => {
    const broken = new Error('aborted')
    async function* cut() {
      // Whole as gzip, so that nothing but the upload itself is at fault.
      yield packed('to,name\n919876543210,Asha\n9198765432')
      await nextTurn()
      throw broken
    }
    const outcome = await readAll(Readable.from(cut()), options)
    expect(outcome.fault).toBe(broken)
    // What gzip has not inflated by then is lost; plain text is not.
    expect(options.gzip ? [[], [2]] : [[2]]).toContainEqual(lines(outcome))
  })

  test('is still there to be answered when its file cannot be read', async () => {
    // Random, so that gzip leaves something unread.
    const rest = randomBytes(300_000).toString('hex')
    const body = streamOf(packed(`to,name\n1234567,"x\n${rest}`), 1_000)
    const { fault } = await readAll(body, options)
    expect(fault?.message).toMatch(/opens on line 2/)
    expect(body.destroyed).toBe(false)
  })

  test('is drawn no faster than its rows are taken', async () => {
    let drawnBytes = 0
    const chunk = 'x'.repeat(1_000)
    function* endless() {
      const part = packed(`to,name\n${Array.from({ length: 1_000 }, () => `1234567,${chunk}\n`).join('')}`)
      // Gzip members one after the other are one file; a header in the middle is a refused row.
      for (;;) {
        for (let at = 0; at < part.length; at += 4096) {
          const piece = part.subarray(at, at + 4096)
          drawnBytes += piece.length
          yield piece
        }
      }
    }
    const reading = readRows(Readable.from(endless()), options)
    await reading.next()
    for (let turn = 0; turn < 100; turn++) await nextTurn()
    const drawnForOne = drawnBytes
    for (let turn = 0; turn < 100; turn++) await nextTurn()
    expect(drawnBytes).toBe(drawnForOne)
    expect(drawnForOne).toBeLessThan(2 * 1024 ** 2)
    await reading.return()
  })
})

describe('a big file', () => {
  test.each(['csv', 'ndjson'] as const)('comes in batches, in order, in flat memory: %s', async (format) => {
    const rows = 200_000
    const text = 'x'.repeat(1_000)
    let bytes = 0
    function* file() {
      if (format === 'csv') yield Buffer.from('to,text\n')
      for (let row = 0; row < rows; row += 100) {
        let chunk = ''
        for (let at = row; at < row + 100; at++) {
          const to = 9_000_000_000 + at
          chunk += format === 'csv' ? `${to},${text}\n` : `{"to":"${to}","variables":{"text":"${text}"}}\n`
        }
        bytes += chunk.length
        yield Buffer.from(chunk)
      }
    }
    const before = process.memoryUsage().rss
    let peak = before
    let read = 0
    for await (const batch of readRows(Readable.from(file()), { format, gzip: false })) {
      expect(batch.rows.length).toBeLessThanOrEqual(500)
      expect(batch.rows[0]?.to).toBe(String(9_000_000_000 + read))
      read += batch.rows.length
      expect(batch.rows.at(-1)?.to).toBe(String(9_000_000_000 + read - 1))
      peak = Math.max(peak, process.memoryUsage().rss)
    }
    expect(read).toBe(rows)
    expect(peak - before).toBeLessThan(bytes / 2)
  })

  test('counts refused rows into its batches as well', async () => {
    const file = `to\n${'1\n'.repeat(1_000)}1234567\n`
    const sizes: number[] = []
    for await (const { rows, refused } of readRows(streamOf(file), PLAIN))
      sizes.push(rows.length + refused.length)
    expect(sizes).toEqual([500, 500, 1])
  })
})

describe('what is written is read back', () => {
  const cell = fc
    .string({
      unit: fc.oneof(
        fc.constantFrom('"', ',', '\n', '\r', ' ', ';'),
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
      ),
    })
    .filter((text) => !text.includes('\0') && !text.includes('\ufeff'))
  const name = fc
    .string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 8 })
    .filter((text) => text === text.trim() && !['to', 'reference', '__proto__'].includes(text))
  const to = fc.stringMatching(/^[1-9]\d{6,14}$/)
  const table = fc.uniqueArray(name, { maxLength: 4 }).chain((names) =>
    fc.record({
      names: fc.constant(names),
      rows: fc.array(
        fc.record({
          to,
          reference: fc.option(
            cell.filter((text) => text.length > 0),
            { nil: undefined },
          ),
          cells: fc.tuple(...names.map(() => cell)),
        }),
        { minLength: 1, maxLength: 8 },
      ),
    }),
  )
  const variables = (names: string[], cells: string[]) =>
    Object.fromEntries(names.map((key, at) => [key, cells[at]!]))

  test('as CSV', () =>
    fc.assert(
      fc.asyncProperty(
        table,
        fc.boolean(),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        fc.integer({ min: 1, max: 50 }),
        fc.boolean(),
        async ({ names, rows }, always, newline, last, chunkBytes, gzip) => {
          const write = (cells: string[]) =>
            cells
              .map((text) => (always || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text))
              .join(',')
          const records = [
            ['to', 'reference', ...names],
            ...rows.map((row) => [row.to, row.reference ?? '', ...row.cells]),
          ].map(write)
          let line = 1
          const beginnings = records.map((record) => {
            const here = line
            line += record.split('\n').length
            return here
          })
          const text = records.join(newline) + (last ? newline : '')
          const outcome = await readAll(streamOf(gzip ? gzipSync(text) : text, chunkBytes), {
            format: 'csv',
            gzip,
          })
          expect(outcome).toEqual({
            rows: rows.map((row, at) => ({
              line: beginnings[at + 1],
              to: row.to,
              ...(row.reference === undefined ? {} : { reference: row.reference }),
              variables: variables(names, row.cells),
            })),
            refused: [],
          })
        },
      ),
    ))

  test('as NDJSON', () =>
    fc.assert(
      fc.asyncProperty(
        table,
        fc.integer({ min: 1, max: 50 }),
        fc.boolean(),
        async ({ names, rows }, chunkBytes, gzip) => {
          const written = rows.map((row) => ({
            to: row.to,
            ...(row.reference === undefined ? {} : { reference: row.reference }),
            variables: variables(names, row.cells),
          }))
          const text = written.map((row) => JSON.stringify(row)).join('\n')
          const outcome = await readAll(streamOf(gzip ? gzipSync(text) : text, chunkBytes), {
            format: 'ndjson',
            gzip,
          })
          expect(outcome).toEqual({ rows: written.map((row, at) => ({ line: at + 1, ...row })), refused: [] })
        },
      ),
    ))
})
