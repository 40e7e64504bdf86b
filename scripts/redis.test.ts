import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cacheDir, checkoutDir } from './checkout.ts'
import { isAlive } from './processes.ts'
import {
  acquireRedis,
  findRedisServer,
  noRedisMessage,
  type PrivateRedis,
  startPrivateRedis,
} from './redis.ts'

const server = await findRedisServer()
if (!server)
  console.warn('SKIPPED: a private Redis cannot be tested, because this machine has no server program')

await mkdir(cacheDir, { recursive: true })

const opened: { stop(): Promise<void> }[] = []

async function startServer(options: Parameters<typeof startPrivateRedis>[0] = {}): Promise<PrivateRedis> {
  const redis = await startPrivateRedis(options)
  opened.push(redis)
  return redis
}

async function withClient<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url)
  try {
    return await use(client)
  } finally {
    client.disconnect()
  }
}

afterAll(async () => {
  for (const each of opened) await each.stop()
})

describe.skipIf(!server)('a private Redis', () => {
  test('never evicts, writes an append-only file, and listens on loopback only', async () => {
    const redis = await startServer()
    const settings = await withClient(redis.url, async (client) => ({
      policy: ((await client.config('GET', 'maxmemory-policy')) as string[])[1],
      appendOnly: ((await client.config('GET', 'appendonly')) as string[])[1],
      bind: ((await client.config('GET', 'bind')) as string[])[1],
    }))
    expect(settings).toEqual({ policy: 'noeviction', appendOnly: 'yes', bind: '127.0.0.1' })
  })

  test('has its port and its data again after a kill', async () => {
    const redis = await startServer()
    const { pid, url } = redis
    await withClient(url, (client) => client.set('key', 'value'))
    await redis.kill('SIGKILL')
    expect(isAlive(pid)).toBe(false)
    await redis.restart()
    expect(redis.url).toBe(url)
    expect(redis.pid).not.toBe(pid)
    expect(await withClient(url, (client) => client.get('key'))).toBe('value')
  })

  test('can be frozen, runs on, and can be ended while frozen', async () => {
    const redis = await startServer()
    await redis.kill('SIGSTOP')
    const client = new Redis(redis.url, { commandTimeout: 300, retryStrategy: () => null })
    client.on('error', () => undefined)
    await expect(client.set('key', 'value')).rejects.toThrow()
    client.disconnect()
    await redis.kill('SIGCONT')
    expect(await withClient(redis.url, (other) => other.ping())).toBe('PONG')
    await redis.kill('SIGSTOP')
    await redis.stop()
    expect(isAlive(redis.pid)).toBe(false)
  })

  test('takes more settings', async () => {
    const redis = await startServer({ args: ['--maxmemory-policy', 'allkeys-lru'] })
    const policy = await withClient(redis.url, (client) => client.config('GET', 'maxmemory-policy'))
    expect((policy as string[])[1]).toBe('allkeys-lru')
  })

  test('says why it did not start, and leaves nothing', async () => {
    const dirs = () =>
      readdirSync(join(cacheDir, 'redis-run')).filter((name) => name.startsWith(`${process.pid}-`))
    const before = dirs()
    await expect(startServer({ args: ['--no-such-setting', '1'] })).rejects.toThrow(/no-such-setting/)
    expect(dirs()).toEqual(before)
  })

  test('keeps a folder that it was given and removes its own', async () => {
    const dir = await mkdtemp(join(cacheDir, 'redis-test-'))
    const given = await startServer({ dir })
    await given.stop()
    expect(existsSync(join(dir, 'appendonlydir')) || existsSync(join(dir, 'appendonly.aof'))).toBe(true)
    await rm(dir, { recursive: true })
    const own = await startServer()
    await own.stop()
    expect(existsSync(own.dir)).toBe(false)
  })

  test('ends with its parent, and the next start clears its data away', async () => {
    const file = join(cacheDir, `redis-test-${process.pid}.mts`)
    await writeFile(
      file,
      `import { startPrivateRedis } from ${JSON.stringify(join(checkoutDir, 'scripts/redis.ts'))}
      const { pid, dir } = await startPrivateRedis()
      console.log(JSON.stringify({ pid, dir }))
      setInterval(() => {}, 1_000)`,
    )
    const parent = spawn(process.execPath, [file])
    const [line] = await once(parent.stdout, 'data')
    const { pid, dir } = JSON.parse(String(line))
    expect(isAlive(pid)).toBe(true)
    parent.kill('SIGKILL')
    await once(parent, 'close')
    while (isAlive(pid)) await sleep(20)
    expect(existsSync(dir)).toBe(true)
    await startServer()
    expect(existsSync(dir)).toBe(false)
    await rm(file)
  })
})

describe.skipIf(!server)('getting a Redis', () => {
  let existing: PrivateRedis
  const before = process.env.REDIS_URL

  beforeAll(async () => {
    existing = await startServer()
  })

  afterAll(() => {
    if (before === undefined) delete process.env.REDIS_URL
    else process.env.REDIS_URL = before
  })

  test('REDIS_URL comes first, and is not ours to stop', async () => {
    process.env.REDIS_URL = `${existing.url}/3`
    const redis = await acquireRedis()
    expect(redis).toMatchObject({ url: `${existing.url}/3`, how: 'REDIS_URL' })
    await redis.stop()
    expect(isAlive(existing.pid)).toBe(true)
  })

  test('a REDIS_URL where nobody answers is named, without its password', async () => {
    process.env.REDIS_URL = 'redis://user:hunter2@127.0.0.1:1'
    const failure = await acquireRedis().catch((error: Error) => error.message)
    expect(failure).toMatch(/REDIS_URL is set, but .*ECONNREFUSED/)
    expect(failure).not.toContain('hunter2')
  })

  test('without REDIS_URL a private one is started, and stopped again', async () => {
    delete process.env.REDIS_URL
    const redis = await acquireRedis()
    expect(await withClient(redis.url, (client) => client.ping())).toBe('PONG')
    await redis.stop()
    if (redis.pid) expect(isAlive(redis.pid)).toBe(false)
  })

  test('where there is no way, one line says what to install', () => {
    const message = noRedisMessage(['/usr/bin/redis-server is version 5.0, and 6.2 is needed'])
    expect(message).toMatch(/apt-get install redis-server.*5\.0/)
    expect(message).not.toContain('\n')
  })
})
