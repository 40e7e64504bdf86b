import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cacheDir, checkoutDir } from './checkout.ts'
import { isAlive } from './processes.ts'

let dir: string

beforeAll(async () => {
  await mkdir(cacheDir, { recursive: true })
  dir = await mkdtemp(join(cacheDir, 'run-test-'))
})

afterAll(() => rm(dir, { recursive: true, force: true }))

/** Runs a script of that source as `npm run` does, and collects what it writes. */
async function start(source: string, ...args: string[]): Promise<{ run: ChildProcess; output(): string }> {
  await writeFile(join(dir, 'script.ts'), source)
  const name = `../.cache/${basename(dir)}/script`
  const run = spawn(process.execPath, [join(checkoutDir, 'scripts/run.mjs'), name, ...args])
  let output = ''
  run.stdout.on('data', (text) => {
    output += text
  })
  return { run, output: () => output }
}

async function ready(output: () => string): Promise<number> {
  for (;;) {
    const pid = output().match(/ready (\d+)/)?.[1]
    if (pid) return Number(pid)
    await sleep(20)
  }
}

const untilInterrupted = `
  let signals: string[] = []
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => signals.push(signal))
  console.log('ready', process.pid)
  setInterval(() => {
    if (signals.length === 0) return
    console.log('got', signals.join())
    process.exit(5)
  }, 500)`

describe('a script started by name', () => {
  test('gets its arguments and a Node that strips types, and gives its exit code', async () => {
    const { run, output } = await start(
      `import { execSync } from 'node:child_process'
      const args: string[] = process.argv.slice(2)
      console.log(JSON.stringify({ args, node: execSync('node --version').toString().trim(), own: process.version }))
      process.exit(7)`,
      '--keep',
      'a b',
    )
    expect(await once(run, 'close')).toEqual([7, null])
    const { args, node, own } = JSON.parse(output())
    expect(args).toEqual(['--keep', 'a b'])
    expect(node).toBe(own)
  })

  test('hears of Ctrl-C once, although the terminal and npm both pass it on', async () => {
    const { run, output } = await start(untilInterrupted)
    await ready(output)
    run.kill('SIGINT')
    await sleep(50)
    run.kill('SIGINT')
    expect(await once(run, 'close')).toEqual([5, null])
    expect(output()).toContain('got SIGINT\n')
  })

  test('is asked to stop when what started it was killed', async () => {
    const { run, output } = await start(untilInterrupted)
    const pid = await ready(output)
    run.kill('SIGKILL')
    while (isAlive(pid)) await sleep(20)
  })

  test('leaves no process of its group behind', async () => {
    const { run, output } = await start(
      `import { spawn } from 'node:child_process'
      const left = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1_000)'], { stdio: 'ignore' })
      console.log('ready', left.pid)
      left.unref()`,
    )
    await once(run, 'close')
    const pid = await ready(output)
    while (isAlive(pid)) await sleep(20)
  })

  test('that does not exist is refused', async () => {
    const run = spawn(process.execPath, [join(checkoutDir, 'scripts/run.mjs'), 'no-such-script'])
    expect(await once(run, 'close')).toEqual([1, null])
  })
})
