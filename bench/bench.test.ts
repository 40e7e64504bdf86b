import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { checkoutDir } from '../scripts/checkout.ts'
import { inPairs, median } from './pairs.ts'
import { betweenMarkers, markdownTable, row } from './table.ts'

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

describe('npm run bench', () => {
  test('measures both sides, prints its tables and ends by itself', async () => {
    const { output, errors, code } = await run('--pairs=1', '--messages=50', '--seconds=1', '--warm-up=0')
    expect(errors).toContain('dispatch 1:')
    expect(code, errors).toBe(0)
    for (const [what, unit] of [
      ['messages per second', ''],
      ['CPU of Redis per message', ' ms'],
      ['memory of Redis per finished message', ' B'],
      ['requests per second', ''],
    ]) {
      expect(output).toMatch(
        new RegExp(`\\| ${what} \\| -?[\\d.,]+${unit} \\| -?[\\d.,]+${unit} \\| -?[\\d.]+ \\(`),
      )
    }
    expect(output).toContain('`npm run bench -- --pairs=1 --messages=50 --seconds=1 --warm-up=0`')
  }, 120_000)

  test('says what is wrong with its arguments', async () => {
    expect(await run('--pairs=none')).toMatchObject({ code: 1, errors: expect.stringContaining('--pairs') })
    expect(await run('--loud')).toMatchObject({ code: 1, errors: expect.stringContaining('--loud') })
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
