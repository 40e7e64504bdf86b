import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { unpackedRedis, unpackRedisPackage } from './redis-package.ts'

/** A server program that runs on this machine. */
export interface RedisServer {
  command: string
  /** What it needs in its environment besides ours. */
  env: Readonly<Record<string, string>>
  /** Where it comes from, for people. */
  how: string
}

export interface FindOptions {
  log?: (line: string) => void
  /** Collects why something that is there cannot be used. */
  problems?: string[]
}

/** A program that is new enough: the installed one, or else the distribution's package. `undefined` if none. */
export async function findRedisServer(options: FindOptions = {}): Promise<RedisServer | undefined> {
  return (await installedRedisServer(options)) ?? (await packagedRedisServer(options))
}

/**
 * The program that REDIS_SERVER_PATH names (with REDIS_SERVER_LIBRARY_PATH, as `redisServerEnv` writes them),
 * or else the one on PATH.
 */
export async function installedRedisServer({
  problems = [],
}: FindOptions = {}): Promise<RedisServer | undefined> {
  const { REDIS_SERVER_PATH, REDIS_SERVER_LIBRARY_PATH } = process.env
  const candidates: RedisServer[] = []
  if (REDIS_SERVER_PATH) {
    const env: Record<string, string> = REDIS_SERVER_LIBRARY_PATH
      ? { LD_LIBRARY_PATH: REDIS_SERVER_LIBRARY_PATH }
      : {}
    candidates.push({ command: REDIS_SERVER_PATH, env, how: REDIS_SERVER_PATH })
  }
  for (const name of ['redis-server', 'valkey-server']) {
    const command = onPath(name)
    if (command) candidates.push({ command, env: {}, how: command })
  }
  for (const candidate of candidates) if (await isFit(candidate, problems)) return candidate
  return undefined
}

/** The distribution's package, unpacked into the checkout's cache: downloaded on the first use. */
export async function packagedRedisServer(options: FindOptions = {}): Promise<RedisServer | undefined> {
  const { log = () => undefined, problems = [] } = options
  const how = "the distribution's package, unpacked into .cache/redis"
  try {
    let unpacked = unpackedRedis()
    if (!unpacked) {
      if (!onPath('apt-get') || !onPath('dpkg-deb')) return undefined
      log("Downloading the distribution's Redis package into .cache/redis …")
      unpacked = await unpackRedisPackage()
    }
    const server = { ...unpacked, how }
    return (await isFit(server, problems)) ? server : undefined
  } catch (error) {
    problems.push((error as Error).message)
    return undefined
  }
}

/** Environment variables that let another process's `findRedisServer` find the same program at once. */
export function redisServerEnv({ command, env }: RedisServer): Record<string, string> {
  const libraries = env.LD_LIBRARY_PATH
  return { REDIS_SERVER_PATH: command, ...(libraries ? { REDIS_SERVER_LIBRARY_PATH: libraries } : {}) }
}

/** Whether the program starts, and is at least 6.2. */
async function isFit({ command, env }: RedisServer, problems: string[]): Promise<boolean> {
  try {
    const { stdout } = await promisify(execFile)(command, ['--version'], { env: { ...process.env, ...env } })
    const [, major = 0, minor = 0] = stdout.match(/v=(\d+)\.(\d+)/)?.map(Number) ?? []
    if (major > 6 || (major === 6 && minor >= 2)) return true
    problems.push(`${command} is version ${major}.${minor}, and 6.2 is needed`)
  } catch (error) {
    problems.push(`${command} does not start (${(error as Error).message.split('\n')[0]})`)
  }
  return false
}

/** The first executable of that name in PATH. */
export function onPath(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    try {
      const file = join(folder, name)
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not there.
    }
  }
  return undefined
}
