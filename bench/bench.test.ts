import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Redis } from 'ioredis'
import { describe, expect, onTestFinished, test } from 'vitest'
import { checkoutDir } from '../scripts/checkout.ts'
import { acquireRedis } from '../scripts/redis.ts'
import { readOptions } from './options.ts'
import { inPairs, median } from './pairs.ts'
import { livesIn, writeRecipients } from './recipients.ts'
import { servedIn, share } from './served.ts'
import { together, watchSlowCommands } from './slow-commands.ts'
import { betweenMarkers, count, figuresTable, markdownTable, row } from './table.ts'

/** Runs the program as `npm run bench` does, on a Redis of its own. */
async function run(...args: string[]) {
  const { REDIS_URL: _, ...env } = process.env
  const child = spawn(process.execPath, ['scripts/bench.ts', ...args], { cwd: checkoutDir, env })
  const [output, errors, code] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    new Promise<number | null>((resolve) => child.once('close', resolve)),
  ])
  return { output, errors, code }
}

const tiny = [
  ...['--pairs=1', '--messages=50', '--seconds=1', '--warm-up=0', '--rows=1000', '--import-pairs=1'],
  ...['--scale-pairs=1', '--few-rows=60', '--running-seconds=2', '--pauses=1', '--sent-rows=60'],
  ...['--receipts-seconds=2', '--told-per-second=50'],
  ...['--waiting=300', '--limit-seconds=1', '--settling-seconds=1', '--limit-pairs=1'],
]

describe('npm run bench', () => {
  test('measures every part, prints its tables and ends by itself', async () => {
    const { output, errors, code } = await run(...tiny)
    expect(code, errors).toBe(0)
    for (const part of [
      'dispatch 1:',
      'accept 1:',
      'import 1:',
      'scale 1:',
      'running:',
      'memory:',
      'receipts:',
      'limits:',
    ])
      expect(errors).toContain(part)
    const value = '-?[\\d.,]+'
    for (const [what, unit] of [
      ['messages per second', ''],
      ['CPU of Redis per message', ' ms'],
      ['memory of Redis per finished message', ' B'],
      ['requests per second', ''],
      ['rows per second', ''],
      ['CPU of Redis per row', ' µs'],
      ['memory of Redis per row', ' B'],
      ['rows made messages, per message sent', ''],
    ]) {
      expect(output).toMatch(
        new RegExp(`\\| ${what} \\| ${value}${unit} \\| ${value}${unit} \\| -?[\\d.]+ \\(`),
      )
    }
    for (const [what, unit] of [
      ['transactional message, accepted → arrival: p99', ' ms'],
      ['its last arrival after a pause was answered', ' ms'],
      ['its last arrival after the cancel was answered', ' ms'],
      ['memory of Redis per row, with its message, attempt and request id', ' B'],
      ['receipt, posted → acknowledged: p99', ' ms'],
      ['receipts applied within 1 s of their arrival', ' %'],
    ])
      expect(output).toMatch(new RegExp(`\\| ${what} \\| ${value}${unit} \\|`))
    for (const limit of ['10 a second', '80 a second', '1,000 a second'])
      expect(output).toMatch(new RegExp(`\\| ${limit} \\|( ${value} \\| ${value} \\([\\d.]+\\) \\|){2}`))
    expect(output).toMatch(/\| 80, while workers are killed and added \| \d+ \| \d+ /)
    expect(output).toMatch(/\| its 429 says `Retry-After` \| [\d.]+ \| [\d.]+ % \| \d+ \|/)
    expect(output).toMatch(/the limiter costs -?\d+ µs of the worker's CPU and -?[\d.]+ round trips/)
    expect(output).toContain(`\`npm run bench -- ${tiny.join(' ')}\``)
  }, 300_000)

  test('measures one part alone', async () => {
    const { output, errors, code } = await run('--only=memory', '--sent-rows=20')
    expect(code, errors).toBe(0)
    expect(output).toContain('| a finished campaign of 20 rows | |')
    expect(output).not.toContain('dispatching')
  }, 120_000)

  test('says what is wrong with its arguments', async () => {
    expect(await run('--pairs=none')).toMatchObject({ code: 1, errors: expect.stringContaining('--pairs') })
    expect(await run('--loud')).toMatchObject({ code: 1, errors: expect.stringContaining('--loud') })
    expect(() => readOptions(['--only', 'dispatch,lunch'])).toThrow('"lunch"')
    expect(() => readOptions(['--rows', '99'])).toThrow('--rows must be a whole number from 100')
  })

  test('keeps its own order of the parts, whatever the order in which they are named', () => {
    expect(readOptions(['--only', 'memory,dispatch']).parts).toEqual(['dispatch', 'memory'])
  })
})

describe('the tables', () => {
  test('compare what lay next to each other in time, and show how far the pairs are apart', () => {
    const pairs = [
      { ours: 1_000, theirs: 2_000 },
      { ours: 3_000, theirs: 3_000 },
      { ours: 9_000, theirs: 4_500 },
    ]
    const compared = row('messages', pairs, (value) => value, 'whole')
    expect(compared).toEqual({ what: 'messages', ours: '3,000', theirs: '3,000', ratio: '1.00 (0.50–2.00)' })
    expect(markdownTable(['speed', 'us', 'them'], [compared, undefined])).toBe(
      '| speed | us | them | ratio |\n|---|--:|--:|--:|\n| messages | 3,000 | 3,000 | 1.00 (0.50–2.00) |',
    )
  })

  test('leave out what this machine does not tell', () => {
    expect(row('CPU', [{ ours: undefined, theirs: 1 }], (value) => value, 'milliseconds')).toBeUndefined()
  })

  test('hold numbers against nothing where there is nothing', () => {
    expect(figuresTable('running', [['p99', '3 ms']])).toBe('| running | |\n|---|--:|\n| p99 | 3 ms |')
    expect([count(1, 'round'), count(2_000, 'round')]).toEqual(['1 round', '2,000 rounds'])
  })

  test('know the middle of an even number of rounds', () => {
    expect(median([10, 1, 3, 2])).toBe(2.5)
  })

  test('replace what stood between the markers, and nothing else', () => {
    const document = 'before\n<!-- bench:start -->\nold\n<!-- bench:end -->\nafter\n'
    expect(betweenMarkers(document, '\nnew\n')).toBe(
      'before\n<!-- bench:start -->\nnew\n<!-- bench:end -->\nafter\n',
    )
    expect(() => betweenMarkers('no markers', 'new')).toThrow('bench:start')
    expect(() => betweenMarkers('<!-- bench:end --><!-- bench:start -->', 'new')).toThrow('bench:start')
  })
})

test('neither side is always the first', async () => {
  const order: string[] = []
  const pairs = await inPairs(
    3,
    async (side) => order.push(side),
    () => undefined,
  )
  expect(order).toEqual(['ours', 'theirs', 'theirs', 'ours', 'ours', 'theirs'])
  expect(pairs[1]).toEqual({ ours: 4, theirs: 3 })
})

describe('two campaigns that share a limit', () => {
  const every = (ms: number, from: number, to: number) =>
    Array.from({ length: Math.ceil((to - from) / ms) }, (_, index) => ({ atMs: from + index * ms }))

  test('are as far from their weights as in the worst 30 s', () => {
    const even = servedIn(every(20, 0, 60_000), every(40, 0, 60_000), [2, 1])
    expect(even).toMatchObject({ windowSeconds: 30, windows: 30, perSecond: expect.closeTo(75, 0) })
    expect(even.worstDeviation).toBeLessThan(0.002)

    // The second one gets nothing for three of sixty seconds: a tenth of the worst window.
    const starved = [...every(40, 0, 40_000), ...every(40, 43_000, 60_000)]
    expect(servedIn(every(20, 0, 60_000), starved, [2, 1]).worstDeviation).toBeCloseTo(1 / 0.9 - 1, 2)
  })

  test('are looked at from when both are served', () => {
    const late = servedIn(every(20, 0, 60_000), every(40, 20_000, 60_000), [2, 1])
    expect(late.worstDeviation).toBeLessThan(0.002)
    expect(() => servedIn(every(20, 0, 1_000), [], [2, 1])).toThrow('side by side')
    expect(() => servedIn(every(20, 0, 1_000), every(20, 2_000, 3_000), [2, 1])).toThrow('side by side')
  })

  test('and percentiles are values that were measured', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1)
    expect([share(hundred, 0.5), share(hundred, 0.99), share(hundred, 1), share([7], 0.99)]).toEqual([
      50, 99, 100, 7,
    ])
  })
})

test('the same seed makes the same file of recipients, none of them twice', () => {
  const directory = mkdtempSync(join(tmpdir(), 'recipients-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'rows.csv')
  const written = (seed: number, countries?: ['spain']) => {
    writeRecipients(file, { rows: 12_000, seed, ...(countries && { countries }) })
    return readFileSync(file, 'utf8')
  }
  const [header, ...lines] = written(5).trimEnd().split('\n')
  expect(header).toBe('to,name,order')
  expect(lines).toHaveLength(12_000)
  for (const line of lines) expect(line).toMatch(/^\d{11,13},\p{L}+ \p{L}+,\d{7}$/u)
  expect(new Set(lines.map((line) => line.split(',')[0])).size).toBe(12_000)
  expect(written(5)).toBe(`${[header, ...lines].join('\n')}\n`)
  expect(written(6)).not.toContain(lines[0]!)
  const spanish = written(5, ['spain']).trimEnd().split('\n').slice(1)
  expect(spanish.every((line) => livesIn('spain', line))).toBe(true)
})

test('a command that keeps Redis busy is told, and Redis does as before', async () => {
  const server = await acquireRedis()
  const redis = new Redis(server.url)
  try {
    const before = await redis.config('GET', 'slowlog-log-slower-than')
    const slow = await watchSlowCommands(redis)
    await redis.eval(
      `local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
       local from = now() while now() - from < 60 do end`,
      0,
    )
    const { count, worst } = await slow()
    expect(count).toBeGreaterThanOrEqual(1)
    expect(worst?.ms).toBeGreaterThanOrEqual(60)
    expect(await redis.config('GET', 'slowlog-log-slower-than')).toEqual(before)
  } finally {
    redis.disconnect()
    await server.stop()
  }
  const [a, b] = [3, 9].map((ms) => ({ count: 2, worst: { command: `of ${ms}`, ms } }))
  expect(together([a!, { ...b!, starvedMs: 5 }, { count: 0, starvedMs: 1 }])).toEqual({
    count: 4,
    worst: b!.worst,
    starvedMs: 6,
  })
})
