import { Redis } from 'ioredis'
import { dockerAnswers, hasImage, redisImage, startRedisContainer } from './redis-container.ts'
import { installedRedisServer, packagedRedisServer, type RedisServer } from './redis-program.ts'
import { startPrivateRedis } from './redis-server.ts'

export { dockerAnswers, hasImage, redisImage } from './redis-container.ts'
export { findRedisServer, type RedisServer, redisServerEnv } from './redis-program.ts'
export {
  answersPing,
  type PrivateRedis,
  type PrivateRedisOptions,
  startPrivateRedis,
} from './redis-server.ts'

/** A Redis to work with. */
export interface AcquiredRedis {
  url: string
  /** Where it comes from, for people: "REDIS_URL", "/usr/bin/redis-server", … */
  how: string
  /** Of a server that runs on this machine as our child. */
  pid?: number
  /** Ends what was started for us; a Redis that was there before stays. */
  stop(): Promise<void>
}

/** No way to a Redis: the message says in one line what to install. */
export class NoRedisError extends Error {}

/**
 * Gets a Redis in this order: REDIS_URL; a server program on PATH; a container, if a Docker engine answers;
 * the distribution's own package, unpacked into the checkout's cache. Whatever is started is private, has AOF
 * and noeviction, listens on 127.0.0.1 only, and ends with this process. Throws `NoRedisError` if none works.
 */
export async function acquireRedis(options: { log?: (line: string) => void } = {}): Promise<AcquiredRedis> {
  const log = options.log ?? (() => undefined)
  if (process.env.REDIS_URL) {
    await mustAnswer(process.env.REDIS_URL)
    return { url: process.env.REDIS_URL, how: 'REDIS_URL', stop: async () => undefined }
  }

  const problems: string[] = []
  const installed = await installedRedisServer({ problems })
  if (installed) return startServer(installed)
  if (await dockerAnswers()) {
    try {
      if (!(await hasImage(redisImage, log))) throw new Error(`the image ${redisImage} cannot be pulled`)
      return { ...(await startRedisContainer()), how: `Docker (${redisImage})` }
    } catch (error) {
      problems.push(`Docker: ${firstLine(error)}`)
    }
  }
  const packaged = await packagedRedisServer({ log, problems })
  if (packaged) return startServer(packaged)
  throw new NoRedisError(noRedisMessage(problems))
}

async function startServer(server: RedisServer): Promise<AcquiredRedis> {
  const redis = await startPrivateRedis({ server })
  return { url: redis.url, how: server.how, pid: redis.pid, stop: () => redis.stop() }
}

/** One line for somebody who has none: what to install, and why what is there did not do. */
export function noRedisMessage(problems: readonly string[]): string {
  const advice =
    'No Redis found. Install redis-server or valkey-server (Debian, Ubuntu: sudo apt-get install redis-server; macOS: brew install redis) or Docker, or set REDIS_URL.'
  return problems.length > 0 ? `${advice} Tried: ${problems.join('; ')}` : advice
}

/** Fails early and without the password that a URL may hold. */
async function mustAnswer(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: 5_000 })
  // Without a listener the client prints every failure itself.
  let reason = ''
  client.on('error', (error) => {
    reason = firstLine(error)
  })
  try {
    await client.connect()
    await client.ping()
  } catch (error) {
    throw new NoRedisError(`REDIS_URL is set, but no Redis answers there: ${reason || firstLine(error)}`)
  } finally {
    client.disconnect()
  }
}

function firstLine(error: unknown): string {
  return (error as Error).message.split('\n')[0] ?? ''
}
