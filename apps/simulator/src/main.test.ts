import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { samples } from './testing/harness.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'simulator-'))
const started = new Set<ChildProcessWithoutNullStreams>()

function run(environment: Record<string, string>) {
  const child = spawn(process.execPath, [main], {
    env: { PATH: process.env.PATH, SIMULATOR_PORT: '0', ...environment },
  })
  started.add(child)
  const output = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk
  })
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk
  })
  const closed = once(child, 'close').then(([code]) => {
    started.delete(child)
    return code as number
  })
  return { child, output, closed }
}

async function listening(environment: Record<string, string> = {}) {
  const running = run(environment)
  await Promise.race([once(running.child.stdout, 'data'), running.closed])
  const line = JSON.parse(running.output.stdout)
  return { ...running, line, url: line.address as string }
}

function configFile(name: string, content: string): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

afterEach(() => {
  for (const child of started) child.kill('SIGKILL')
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('the program', () => {
  it.each(['info', 'silent'])('prints one line with its address (log level %s)', async (level) => {
    const { child, output, closed, line, url } = await listening({ LOG_LEVEL: level })
    expect(line).toMatchObject({ msg: 'simulator listening', address: expect.stringMatching(/^http:/) })
    expect(await (await fetch(`${url}/health/live`)).json()).toEqual({ status: 'ok' })
    child.kill('SIGTERM')
    expect(await closed).toBe(0)
    expect(output.stdout.trimEnd().split('\n')).toHaveLength(1)
    expect(output.stderr).toBe('')
  })

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'ends at %s with requests hanging and answers held back',
    async (signal) => {
      const faults = [
        { provider: 'gupshup', effect: { kind: 'hang' } },
        { provider: 'kaleyra', latency: { fixedMs: 600_000 } },
        { provider: 'zixflow', slowBody: { chunkBytes: 1, intervalMs: 1000 } },
      ]
      const { child, closed, url } = await listening({
        SIMULATOR_CONFIG: configFile('hang.json', JSON.stringify({ faults })),
      })
      const open = [samples.gupshupReaction, samples.kaleyraReaction, samples.zixflowReaction].map((sample) =>
        fetch(url + sample.path, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...sample.headers },
          body: JSON.stringify(sample.body),
        }).then((response) => response.text()),
      )
      const settled = Promise.allSettled(open)
      for (;;) {
        const { arrived } = (await (await fetch(`${url}/simulator/summary`)).json()) as { arrived: number }
        if (arrived === 3) break
      }
      const asked = performance.now()
      child.kill(signal)
      expect(await closed).toBe(0)
      // Above its own limit of one second, for a machine under load.
      expect(performance.now() - asked).toBeLessThan(3000)
      expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    },
  )

  it.each<[string, Record<string, string>, RegExp]>([
    ['a port that is none', { SIMULATOR_PORT: '99999' }, /^SIMULATOR_PORT: /],
    ['an unknown log level', { LOG_LEVEL: 'loud' }, /^LOG_LEVEL: one of /],
    ['a file that is not there', { SIMULATOR_CONFIG: '/nowhere.json' }, /^SIMULATOR_CONFIG: .*ENOENT/],
  ])('refuses to start with %s', async (_name, environment, message) => {
    const { output, closed } = run(environment)
    expect(await closed).toBe(1)
    expect(output.stderr).toMatch(message)
    expect(output.stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(output.stdout).toBe('')
  })

  it('names each fault of its file by path, without telling secrets', async () => {
    const accounts = [
      { provider: 'kaleyra', account: '919000000000', credentials: { sid: 7, apiKey: 'hush-hush' } },
      { provider: 'gupshup', account: 'a', credentials: { tokn: 'hush-hush' }, balance: -1 },
    ]
    const { output, closed } = run({ SIMULATOR_CONFIG: configFile('bad.json', JSON.stringify({ accounts })) })
    expect(await closed).toBe(1)
    expect(output.stderr).toContain('accounts.0.credentials.sid')
    expect(output.stderr).toContain('accounts.1.balance')
    expect(output.stderr).not.toContain('hush-hush')
    const broken = run({ SIMULATOR_CONFIG: configFile('broken.json', '{"accounts": hush-hush') })
    expect(await broken.closed).toBe(1)
    expect(broken.output.stderr).toMatch(/not valid JSON\n$/)
    expect(broken.output.stderr).not.toContain('hush-hush')
  })
})
