/** What Redis took long for, by its own SLOWLOG. */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'

export const SLOW_MS = 20

export interface SlowCommands {
  count: number
  /** Of all: its beginning, and how long it took. */
  worst?: { command: string; ms: number }
  /**
   * How long Redis was ready to work and had no processor, in ms: SLOWLOG counts that as the command's time. Undefined
   * where the system does not tell.
   */
  starvedMs?: number | undefined
}

/**
 * Has Redis write down each command that takes {@link SLOW_MS} or more.
 * @returns a function that gives what it wrote down and lets Redis do as before
 */
export async function watchSlowCommands(redis: Redis): Promise<() => Promise<SlowCommands>> {
  const settings = { 'slowlog-log-slower-than': String(SLOW_MS * 1_000), 'slowlog-max-len': '1000' }
  const before: [string, string][] = []
  for (const [name, value] of Object.entries(settings)) {
    before.push((await redis.config('GET', name)) as [string, string])
    await redis.config('SET', name, value)
  }
  await redis.slowlog('RESET')
  const starvedMs = await starvationOf(redis)
  const starvedBefore = starvedMs()
  return async () => {
    const entries = (await redis.slowlog('GET', 1_000)) as [number, number, number, string[]][]
    for (const [name, value] of before) await redis.config('SET', name, value)
    const [worst] = entries
      .map(([, , microseconds, words]) => ({
        command: words.slice(0, 4).join(' ').slice(0, 120),
        ms: microseconds / 1_000,
      }))
      .sort((a, b) => b.ms - a.ms)
    const starved = (starvedMs() ?? Number.NaN) - (starvedBefore ?? Number.NaN)
    return { count: entries.length, ...(worst && { worst }), ...(starved >= 0 && { starvedMs: starved }) }
  }
}

/** @returns a function that tells for how long Redis' own thread has waited for a processor since it started */
async function starvationOf(redis: Redis): Promise<() => number | undefined> {
  const pid = /^process_id:(\d+)/m.exec(`${await redis.info('server')}`)?.[1]
  return () => {
    try {
      // In a container it has another number out here.
      if (!/^(redis|valkey)/.test(readFileSync(`/proc/${pid}/comm`, 'utf8'))) return undefined
      return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6
    } catch {
      return undefined
    }
  }
}

/** All of them together. */
export function together(all: readonly SlowCommands[]): SlowCommands {
  const count = all.reduce((sum, each) => sum + each.count, 0)
  const [worst] = all.flatMap((each) => each.worst ?? []).sort((a, b) => b.ms - a.ms)
  const starved = all.flatMap((each) => each.starvedMs ?? [])
  return {
    count,
    ...(worst && { worst }),
    ...(starved.length > 0 && { starvedMs: starved.reduce((sum, ms) => sum + ms, 0) }),
  }
}
