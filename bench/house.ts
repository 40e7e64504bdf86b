/** What is measured, and what it needs: a Redis, the simulator, and our processes on one account. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { accountsKey, lanePrefix } from '@wa-dispatch/dispatch'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { cacheDir } from '../scripts/checkout.ts'
import { freePort } from '../scripts/processes.ts'
import { acquireRedis } from '../scripts/redis.ts'
import { type Program, type ProgramOptions, startProgram } from './programs.ts'

const key = 'a-key-for-the-benchmark'
export const account = {
  id: 'kaleyra-in',
  provider: 'kaleyra',
  sid: 'HXAP16XXXXXX97IN',
  apiKey: 'Akey3',
  sender: '919000000000',
  // Out of the way: the script has no limit at all.
  rateLimit: { perSecond: 100_000 },
}
/** Attempts in flight, on both sides. */
export const concurrency = 100

/** The message that everybody sends. */
export const message = {
  type: 'interactive',
  interactive: {
    type: 'button',
    body: { text: 'Your order 1042 arrives on Tuesday between 9 and 12. Is this time good for you?' },
    action: {
      buttons: [
        { type: 'reply', reply: { id: 'yes', title: 'Yes' } },
        { type: 'reply', reply: { id: 'later', title: 'Later' } },
        { type: 'reply', reply: { id: 'call', title: 'Call me' } },
      ],
    },
  },
}

export type House = Awaited<ReturnType<typeof openHouse>>

export interface HouseOptions {
  log: (line: string) => void
  /** Whether the measured processes write CPU profiles; undefined for none. */
  profileDirectory?: string | undefined
}

/** Starts Redis, simulator and API. @throws when the Redis that was given is not empty */
export async function openHouse({ log, profileDirectory }: HouseOptions) {
  const closers: (() => unknown)[] = []
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  try {
    return await open()
  } catch (error) {
    await close().catch(() => undefined)
    throw error
  }

  async function open() {
    const server = await acquireRedis({ log })
    closers.push(() => server.stop())
    const redis = new Redis(server.url, { maxRetriesPerRequest: 1 })
    redis.on('error', () => undefined) // the command that needs it tells
    closers.push(() => redis.disconnect())
    if ((await redis.dbsize()) > 0)
      throw new Error(`The Redis of ${server.how} is not empty: the benchmark fills and empties it.`)
    closers.push(() => redis.flushdb())
    await withoutRewriting(redis, closers)

    const directory = mkdtempSync(join(cacheDir, 'bench-'))
    closers.push(() => rmSync(directory, { recursive: true, force: true }))
    const [simulatorPort, apiPort] = [await freePort(), await freePort()]
    const simulatorUrl = `http://127.0.0.1:${simulatorPort}`
    const apiUrl = `http://127.0.0.1:${apiPort}`
    const accountsFile = join(directory, 'accounts.json')
    writeFileSync(accountsFile, JSON.stringify({ accounts: [{ ...account, baseUrl: simulatorUrl }] }))

    const start = async (options: Omit<ProgramOptions, 'directory'>): Promise<Program> => {
      const program = await startProgram({
        ...options,
        directory: profileDirectory ?? directory,
        profiled: options.profiled === true && profileDirectory !== undefined,
      })
      closers.push(() => program.stop())
      return program
    }
    const env = {
      REDIS_URL: server.url,
      ACCOUNTS_FILE: accountsFile,
      NODE_ENV: 'production',
      LOG_LEVEL: 'warn', // no line a message, like the other side
    }
    const simulator = await start({
      name: 'simulator',
      entry: 'apps/simulator/src/main.ts',
      env: { SIMULATOR_PORT: String(simulatorPort), LOG_LEVEL: 'warn' },
    })
    await simulator.ready(`${simulatorUrl}/health/live`)
    const api = await start({
      name: 'api',
      entry: 'apps/api/src/main.ts',
      env: {
        ...env,
        API_PORT: String(apiPort),
        API_KEYS: `bench:${createHash('sha256').update(key).digest('hex')}:send+read+admin`,
        API_RATE_LIMIT: '1000000',
      },
      profiled: true,
    })
    await api.ready(`${apiUrl}/health/ready`)

    return {
      redis,
      redisUrl: server.url,
      how: server.how,
      redisVersion: await versionOf(redis),
      simulatorUrl,
      apiUrl,
      authorization: `Bearer ${key}`,
      api,
      start,
      async startWorker() {
        const port = await freePort()
        const worker = await start({
          name: 'worker',
          entry: 'apps/worker/src/main.ts',
          env: { ...env, WORKER_PORT: String(port), WORKER_CONCURRENCY: String(concurrency) },
          profiled: true,
        })
        await worker.ready(`http://127.0.0.1:${port}/health/ready`)
        return worker
      },
      /** @throws for an answer that is not 2xx */
      // biome-ignore lint/suspicious/noExplicitAny: answers of our own API, read in two places
      async call(method: string, path: string, body?: unknown): Promise<any> {
        const response = await fetch(`${apiUrl}${path}`, {
          method,
          signal: AbortSignal.timeout(60_000),
          headers: {
            authorization: `Bearer ${key}`,
            ...(body !== undefined && { 'content-type': 'application/json' }),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        })
        const text = await response.text()
        if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 500)}`)
        return text ? JSON.parse(text) : undefined
      },
      close,
    }
  }
}

/** A rewrite of the append-only file would fall into one side's round and not into the other's. */
async function withoutRewriting(redis: Redis, closers: (() => unknown)[]): Promise<void> {
  const name = 'auto-aof-rewrite-percentage'
  try {
    const [, before] = (await redis.config('GET', name)) as [string, string]
    await redis.config('SET', name, '0')
    if (before !== undefined) closers.push(() => redis.config('SET', name, before))
  } catch {
    // A service that does not let its settings be changed.
  }
}

async function versionOf(redis: Redis): Promise<string> {
  const info = `${await redis.info('server')}`
  const value = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1]
  const valkey = value('valkey_version')
  return valkey ? `Valkey ${valkey}` : `Redis ${value('redis_version')}`
}

/** The account's BullMQ queue, to look into. */
export async function laneOf({ redis }: House): Promise<Queue> {
  const number = Number(await redis.hget(accountsKey, account.id))
  return new Queue(account.id, { connection: redis, prefix: lanePrefix(number) })
}
