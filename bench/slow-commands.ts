/** What Redis took long for, by its own SLOWLOG. */
import type { Redis } from 'ioredis'

export const SLOW_MS = 20

export interface SlowCommands {
  count: number
  /** Of all: its beginning, and how long it took. */
  worst?: { command: string; ms: number }
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
  return async () => {
    const entries = (await redis.slowlog('GET', 1_000)) as [number, number, number, string[]][]
    for (const [name, value] of before) await redis.config('SET', name, value)
    const [worst] = entries
      .map(([, , microseconds, words]) => ({
        command: words.slice(0, 4).join(' ').slice(0, 120),
        ms: microseconds / 1_000,
      }))
      .sort((a, b) => b.ms - a.ms)
    return { count: entries.length, ...(worst && { worst }) }
  }
}

/** All of them together. */
export function together(all: readonly SlowCommands[]): SlowCommands {
  const count = all.reduce((sum, each) => sum + each.count, 0)
  const [worst] = all.flatMap((each) => each.worst ?? []).sort((a, b) => b.ms - a.ms)
  return { count, ...(worst && { worst }) }
}
