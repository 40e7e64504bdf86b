/** Connections to Redis, and whether it is fit to hold messages. */
import { Redis, type RedisOptions } from 'ioredis'
import type { Logger } from 'pino'

/**
 * - `worker`: commands wait for Redis to come back, however long: what is in flight has to be written down.
 * - `api`: a Redis that is away is an error at once, a silent one after 3 s: the caller is told to come again.
 */
export type RedisUse = 'worker' | 'api'

/** Milliseconds after which an API call gives up on a Redis that does not answer. */
export const API_COMMAND_TIMEOUT_MS = 3_000

const retryStrategy = (times: number) => Math.min(50 * 2 ** Math.min(times, 6), 1_000)

const options = {
  worker: { maxRetriesPerRequest: null },
  api: {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    commandTimeout: API_COMMAND_TIMEOUT_MS,
  },
} satisfies Record<RedisUse, RedisOptions>

/** Connects; errors of the connection go to the log, once per outage. */
export function connectRedis(url: string, use: RedisUse, log: Logger): Redis {
  const redis = new Redis(url, { ...options[use], retryStrategy, connectTimeout: 5_000 })
  let away = false
  redis.on('error', (error: Error) => {
    if (!away)
      log.error(
        { err: { code: (error as NodeJS.ErrnoException).code, message: error.message } },
        'redis.away',
      )
    away = true
  })
  redis.on('ready', () => {
    if (away) log.info('redis.back')
    away = false
  })
  return redis
}

/**
 * A connection of its own for BullMQ, like this one: each pipeline takes along every script that its connection knows,
 * and BullMQ brings many.
 *
 * BullMQ tells what happens to a job in a stream of its queue, four times for each that is sent. Nobody reads a lane's
 * (messages have states, metrics and post-backs), and they are a fifth of what Redis writes to disk when a message is
 * accepted: BullMQ's scripts come here without them.
 */
export function connectLanes(redis: Redis): Redis {
  const lanes = redis.duplicate({ enableAutoPipelining: false })
  lanes.on('error', () => undefined) // the other connection tells it
  const define = lanes.defineCommand.bind(lanes)
  lanes.defineCommand = (name, { lua, ...definition }) => {
    define(name, { ...definition, lua: withoutEvents(lua) })
  }
  return lanes
}

/** Lua's `select` only counts what it is given. */
const withoutEvents = (lua: string) => lua.replaceAll('rcall("XADD", ', 'select("#", ')

/** @returns when the connection is ready @throws when it is not within the time, in ms */
export async function whenReady(redis: Redis, timeoutMs: number): Promise<void> {
  if (redis.status === 'ready') return
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      redis.off('ready', ready)
      reject(new Error(`no Redis within ${timeoutMs / 1000} s`))
    }, timeoutMs)
    const ready = () => {
      clearTimeout(timer)
      resolve()
    }
    redis.once('ready', ready)
  })
}

/**
 * What makes this Redis unsafe for a ledger; empty when it is fit.
 * A service that does not let its settings be read counts as fit, with a line of its own in `unknown`.
 */
export async function checkFitness(redis: Redis): Promise<{ unsafe: string[]; unknown: string[] }> {
  const unsafe: string[] = []
  const unknown: string[] = []
  const info = await redis.info()
  const value = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1]
  const version = value('redis_version') ?? ''
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < 6 || (major === 6 && minor < 2))
    unsafe.push(`Redis ${version} is too old: 6.2 or newer is needed`)
  const policy = value('maxmemory_policy')
  if (policy === undefined) unknown.push('maxmemory-policy cannot be read')
  else if (policy !== 'noeviction') {
    unsafe.push(`maxmemory-policy is ${policy}: Redis may drop messages when memory is short; set noeviction`)
  }
  const appendOnly = value('aof_enabled')
  if (appendOnly === undefined) unknown.push('appendonly cannot be read')
  else if (appendOnly !== '1') {
    unsafe.push(
      'appendonly is off: what happened since the last snapshot is lost with the process; set appendonly yes',
    )
  } else if (value('aof_last_write_status') === 'err') unsafe.push('Redis cannot write its append-only file')
  return { unsafe, unknown }
}
