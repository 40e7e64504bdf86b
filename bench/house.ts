/** What is measured, and what it needs: a Redis, the simulator, and our processes on some accounts. */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { accountsKey, lanePrefix } from '@wa-dispatch/dispatch'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { cacheDir } from '../scripts/checkout.ts'
import { freePort } from '../scripts/processes.ts'
import { acquireRedis } from '../scripts/redis.ts'
import { type Deployment, deploy } from './deployment.ts'
import { account, type BenchAccount } from './given.ts'
import { type Program, type ProgramOptions, startProgram } from './programs.ts'

export type House = Awaited<ReturnType<typeof openHouse>>

export interface HouseOptions {
  log: (line: string) => void
  /** Whether the measured processes write CPU profiles; undefined for none. */
  profileDirectory?: string | undefined
}

/** Starts Redis and the simulator. @throws when the Redis that was given is not empty */
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
    const start = async (options: Omit<ProgramOptions, 'directory'>): Promise<Program> => {
      const program = await startProgram({
        ...options,
        directory: profileDirectory ?? directory,
        profiled: options.profiled === true && profileDirectory !== undefined,
      })
      closers.push(() => program.stop())
      return program
    }
    const simulatorPort = await freePort()
    const simulatorUrl = `http://127.0.0.1:${simulatorPort}`
    const simulator = await start({
      name: 'simulator',
      entry: 'apps/simulator/src/main.ts',
      env: { SIMULATOR_PORT: String(simulatorPort), LOG_LEVEL: 'warn' },
      profiled: true,
    })
    await simulator.ready(`${simulatorUrl}/health/live`)

    return {
      redis,
      redisUrl: server.url,
      how: server.how,
      redisVersion: await versionOf(redis),
      simulatorUrl,
      simulator,
      /** For files of its own; ends with the house. */
      directory,
      start,
      /** Starts our API on these accounts. @param part of the benchmark: names its processes */
      deploy: (part: string, accounts: readonly BenchAccount[] = [account]): Promise<Deployment> =>
        deploy({ part, accounts, redisUrl: server.url, simulatorUrl, directory, start }),
      /** For the next part; nothing of ours may run on this Redis. It is busy with it, but never blocked. */
      async empty() {
        await redis.flushdb('ASYNC')
        while (/^lazyfree_pending_objects:[1-9]/m.test(`${await redis.info('memory')}`)) await sleep(50)
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

/** An account's BullMQ queue, to look into; it is there once our API is. */
export async function laneOf({ redis }: House, id = account.id): Promise<Queue> {
  const number = Number(await redis.hget(accountsKey, id))
  return new Queue(id, { connection: redis, prefix: lanePrefix(number) })
}
