import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { checkoutDir } from './checkout.ts'
import { isAlive } from './processes.ts'

const timeoutMs = 240_000

interface Run {
  child: ChildProcess
  output(): string
  outputMatch(pattern: RegExp): Promise<RegExpMatchArray>
  exit: Promise<number | null>
}

/** Starts it as `npm run demo` does, without a terminal. */
function demo(args: string[] = [], env: Record<string, string> = {}): Run {
  const child = spawn(process.execPath, [join(checkoutDir, 'scripts/run.mjs'), 'demo', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text
    })
  }
  const exit = once(child, 'close').then(([code]) => code)
  return {
    child,
    exit,
    output: () => output,
    async outputMatch(pattern) {
      for (;;) {
        const match = output.match(pattern)
        if (match) return match
        if (child.exitCode !== null)
          throw new Error(`it ended before its output matched ${pattern}:\n${output}`)
        await sleep(50)
      }
    },
  }
}

/** What a process started, and what these did, and so on. */
function descendants(pid: number): number[] {
  const pairs = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
  const below = (parent: number): number[] =>
    pairs.flatMap(([child, itsParent]) => (itsParent === parent ? [child!, ...below(child!)] : []))
  return below(pid)
}

/** Fails with the test's time-out when one of them stays. */
async function ended(pids: number[]): Promise<void> {
  while (pids.some(isAlive)) await sleep(50)
}

describe('the demo', { timeout: timeoutMs }, () => {
  test.concurrent('ends by itself with sums that add up, and looks up three request ids', async () => {
    const run = demo()
    await run.outputMatch(/ of \d+ done/)
    const pids = descendants(run.child.pid!)
    expect(await run.exit, run.output()).toBe(0)
    await ended(pids)

    const output = run.output()
    const number = (name: string) => Number(output.match(new RegExp(`^ {2}${name} +([\\d.]+)`, 'm'))?.[1])
    expect(number('rows')).toBe(200)
    expect(number('accepted') + number('refused')).toBe(200)
    expect(number('submitted') + number('failed') + number('uncertain')).toBe(number('accepted'))
    for (const name of ['submitted', 'failed', 'uncertain', 'retried', 'rate']) {
      expect(number(name), name).toBeGreaterThan(0)
    }
    // Every refused row is named, with a reason.
    expect(output.match(/^ {2}line \d+ +(API|CSV) +\S/gm)).toHaveLength(number('refused'))
    expect(output).toMatch(/failed +demo-kaleyra +E110 +balance: /)
    expect(output).toMatch(/failed +demo-kaleyra +WA500 +unavailable: .*\(4\s+attempts\)/)
    expect(
      output.split('GET /v1/messages?request_id=…')[1]!.match(/^ {2}\S+ +order-\d+, demo-/gm),
    ).toHaveLength(3)
    expect(output).toMatch(/ order-\d+, demo-\S+, [^;]+;\s+receipts:\s+(sent|delivered|read)/)

    const receipts = output.split('What became of the ')[1]!.split('Looked up')[0]!
    const told = (name: string) => Number(receipts.match(new RegExp(`^ {2}${name} +(\\d+)`, 'm'))?.[1])
    const heard = ['read', 'delivered', 'sent', 'undelivered']
    for (const name of [...heard, 'settled', 'unmatched', 'post-backs'])
      expect(told(name), name).toBeGreaterThan(0)
    const sum = [...heard, 'silent'].reduce((total, name) => total + told(name), 0)
    expect(sum).toBe(number('submitted'))
    expect(receipts).toMatch(/131026 [^;]+;\s+131009|131009 .*131026 /s)
    expect(output).toMatch(/✓ [1-9]\d* receipts are on their messages/)
    expect(output).toMatch(/✓ the caller was told of [1-9]\d* messages: signed, in order/)
    expect(output).toContain('/dashboard')
    expect(output).toContain('/docs')

    const campaign = output.split('Campaign “')[1]!
    const numbers = (pattern: RegExp) =>
      (campaign.match(pattern) ?? []).slice(1).map((number) => Number(number.replace(',', '')))
    const [accepted, rejected, duplicates, rows] = numbers(
      /✓ ([\d,]+) accepted \+ (\d+) rejected \+ (\d+) duplicates = ([\d,]+) rows/,
    )
    expect(rows).toBe(5_000)
    expect(accepted! + rejected! + duplicates!).toBe(5_000)
    expect(rejected).toBeGreaterThan(0)
    expect(duplicates).toBeGreaterThan(0)
    expect(campaign).toMatch(/^ {2}lines \d+, \d+.* {2}\S/m)
    expect(campaign.split('As they would go out')[1]!.match(/^ {2}line \d+ +\d+ +For /gm)).toHaveLength(3)
    expect(campaign).toMatch(/ of 4,\d+ done · .* a second · ends at \d\d:\d\d:\d\d/)
    expect(campaign).toMatch(/ done · paused for /)
    // It is stopped for want of money, goes on by itself, and only then those that met it are tried again.
    expect(campaign).toMatch(
      /breaker of demo-kaleyra-bulk is open: E110 .*\n[1-9]\d* messages met it and failed, [1-9]\d* wait untouched\n/,
    )
    expect(campaign).toMatch(/untouched[^✓]* the breaker is open: next probe in /)
    expect(campaign).toMatch(/The breaker closed by itself after [\d.]+ s[^✓]* E110 +balance: [^✓]*\/retry /)
    expect(campaign).toMatch(/POST …\/retry {"codes":\["E110"\]}/)

    const [, reportFile] = campaign.match(/^ {2}(\S+campaign-report\.csv) /m)!
    const report = (await readFile(reportFile!, 'utf8')).trim().split('\r\n')
    expect(report).toHaveLength(accepted! + 1)
    expect(report[0]).toMatch(/^line,to,reference,id,request_id,state,/)

    expect(output).not.toContain('✗')
    // No terminal, no control sequences.
    expect(output).not.toContain('\u001b')
  })

  test.concurrent('leaves everything running with --keep, until Ctrl-C', async () => {
    const run = demo(['--keep'])
    const [, dashboard] = await run.outputMatch(/dashboard +(\S+)/)
    const [, key] = await run.outputMatch(/key +(wa-demo-key)/)
    const [, address] = await run.outputMatch(/curl .* '(\S+)'/)
    const pids = descendants(run.child.pid!)
    expect(pids.length).toBeGreaterThanOrEqual(4)

    expect((await fetch(dashboard!, { redirect: 'manual' })).status).toBeGreaterThanOrEqual(300)
    const found = await fetch(address!, { headers: { authorization: `Bearer ${key}` } })
    expect(await found.json()).toMatchObject({
      items: [{ state: expect.stringMatching(/^(sent|delivered|read)$/) }],
      next: null,
    })

    run.child.kill('SIGINT')
    expect(await run.exit).toBe(130)
    await ended(pids)
  })

  test.concurrent('leaves nothing behind when it is interrupted in the middle', async () => {
    const run = demo()
    await run.outputMatch(/ of \d+ done/)
    const pids = descendants(run.child.pid!)
    expect(pids.length).toBeGreaterThanOrEqual(4)
    run.child.kill('SIGINT')
    expect(await run.exit).toBe(130)
    await ended(pids)
    expect(run.output()).toContain('Stopping …')
    expect(run.output()).not.toContain('Summary')
  })

  test.concurrent('leaves nothing behind when it is interrupted in the middle of the campaign', async () => {
    const run = demo()
    await run.outputMatch(/ done · paused for /)
    const pids = descendants(run.child.pid!)
    run.child.kill('SIGINT')
    expect(await run.exit).toBe(130)
    await ended(pids)
    expect(run.output()).toContain('Stopping …')
    expect(run.output()).not.toContain('campaign-report.csv')
  })

  test('says only what to do when no Redis can be had', async () => {
    const run = demo([], { REDIS_URL: 'redis://127.0.0.1:1' })
    expect(await run.exit).toBe(1)
    expect(run.output().trim()).toMatch(/^REDIS_URL is set, but no Redis answers there: .*$/)
  })

  test('refuses flags that it does not know, and explains those that it does', async () => {
    const refused = demo(['--kept'])
    expect(await refused.exit).toBe(2)
    expect(refused.output()).toContain("'--kept'")
    const helped = demo(['--help'])
    expect(await helped.exit).toBe(0)
    expect(helped.output()).toContain('--keep')
  })
})
