import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cacheDir, checkoutDir } from './checkout.ts'
import { freePort, isAlive, type StartedProcess, startProcess } from './processes.ts'

let dir: string
let server: string
const started: StartedProcess[] = []

beforeAll(async () => {
  await mkdir(cacheDir, { recursive: true })
  dir = await mkdtemp(join(cacheDir, 'processes-test-'))
  server = join(dir, 'server.mjs')
  await writeFile(
    server,
    `import { createServer } from 'node:http'
    if (process.env.FAIL) { console.error('PORT is missing'); process.exit(3) }
    process.on('SIGTERM', () => { if (!process.env.DEAF) { console.log('stopping'); process.exit(0) } })
    let requests = 0
    createServer((_, response) => response.writeHead(++requests < 3 ? 503 : 200).end()).listen(process.env.PORT, '127.0.0.1')
    console.log('port ' + process.env.PORT)`,
  )
})

afterAll(async () => {
  for (const each of started) await each.stop()
  await rm(dir, { recursive: true, force: true })
})

async function start(env: Record<string, string>): Promise<{ child: StartedProcess; url: string }> {
  const port = await freePort()
  const child = await startProcess({ name: 'server', entry: server, env: { PORT: String(port), ...env } })
  started.push(child)
  return { child, url: `http://127.0.0.1:${port}/` }
}

/** Until the process is gone; the test's own time-out is the limit. */
async function untilGone(pid: number): Promise<void> {
  while (isAlive(pid)) await sleep(20)
}

describe('a started process', () => {
  test('is ready when its URL answers well, not when it answers at all', async () => {
    const { child, url } = await start({})
    await child.ready(url)
    expect((await fetch(url)).status).toBe(200)
    expect(child.output()).toContain('port ')
  })

  test('tells what it found in its output', async () => {
    const { child, url } = await start({})
    const [, port] = await child.outputMatch(/port (\d+)/)
    expect(url).toContain(`:${port}/`)
  })

  test('stops in good order on SIGTERM', async () => {
    const { child, url } = await start({})
    await child.ready(url)
    expect(await child.stop()).toEqual({ code: 0, signal: null })
    expect(child.output()).toContain('stopping')
    expect(await child.stop()).toEqual({ code: 0, signal: null })
  })

  test('is killed when it does not stop in time', async () => {
    const { child, url } = await start({ DEAF: '1' })
    await child.ready(url)
    expect(await child.stop({ timeoutMs: 200 })).toEqual({ code: null, signal: 'SIGKILL' })
  })

  test('stops in good order although it was frozen', async () => {
    const { child, url } = await start({})
    await child.ready(url)
    child.kill('SIGSTOP')
    expect(await child.stop()).toEqual({ code: 0, signal: null })
  })

  test('that ends before it is ready says why', async () => {
    const { child, url } = await start({ FAIL: '1' })
    await expect(child.ready(url)).rejects.toThrow(/exit code 3[\s\S]*PORT is missing/)
  })

  test('that never gets ready is reported after the time-out', async () => {
    const { child } = await start({})
    const nobody = `http://127.0.0.1:${await freePort()}/`
    await expect(child.ready(nobody, { timeoutMs: 300 })).rejects.toThrow(/not .* after 300 ms/)
  })
})

describe('nothing is left behind', () => {
  const parentSource = (ending: string) => `
    import { startProcess } from ${JSON.stringify(join(checkoutDir, 'scripts/processes.ts'))}
    import { startPrivateRedis } from ${JSON.stringify(join(checkoutDir, 'scripts/redis-server.ts'))}
    const child = await startProcess({ name: 'server', entry: process.argv[2], env: { PORT: process.argv[3], DEAF: '1' } })
    await child.outputMatch(/port/)
    console.log('child ' + child.pid)
    ${ending}`

  test.each([
    ['it ends by itself', 'process.exit(0)'],
    ['it throws', "throw new Error('as intended')"],
    ['it is interrupted', "process.kill(process.pid, 'SIGINT'); setInterval(() => {}, 1_000)"],
    ['it is killed', "process.kill(process.pid, 'SIGKILL')"],
  ])('when the parent is gone because %s', async (_why, ending) => {
    const file = join(dir, 'parent.mts')
    await writeFile(file, parentSource(ending))
    const parent = spawn(process.execPath, [file, server, String(await freePort())])
    let output = ''
    parent.stdout.on('data', (text) => {
      output += text
    })
    await once(parent, 'close')
    const pid = Number(output.match(/child (\d+)/)?.[1])
    expect(pid).toBeGreaterThan(0)
    await untilGone(pid)
  })
})
