/** What a stretch of work cost: time of a process, and of Redis. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'

/** Linux counts the CPU time that it tells in hundredths of a second, whatever it counts in itself. */
const TICKS_PER_SECOND = 100

/** @returns CPU seconds, user and system, of all threads of the process; undefined where there is no /proc */
export function cpuSecondsOf(pid: number): number | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return undefined
  }
  // The second field is the program's name in brackets, which may itself hold spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** @returns CPU seconds of this whole machine, of whatever runs on it; undefined where there is no /proc */
export function machineCpuSeconds(): number | undefined {
  try {
    const [, user, nice, system, , , irq, softIrq] = readFileSync('/proc/stat', 'utf8').split(/\s+/, 9)
    return (
      [user, nice, system, irq, softIrq].reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND
    )
  } catch {
    return undefined
  }
}

/** What Redis says of itself, since it started. */
export interface RedisReading {
  /** User and system, of all its threads. */
  cpuSeconds: number
  /** Also those that scripts call. */
  commands: number
  /** Scripts that were called. */
  scripts: number
  memoryBytes: number
}

export async function readRedis(redis: Redis): Promise<RedisReading> {
  const info = `${await redis.info('everything')}`
  const value = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1] ?? 0)
  const calls = (name: string) =>
    Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, 'm').exec(info)?.[1] ?? 0)
  return {
    cpuSeconds: value('used_cpu_user') + value('used_cpu_sys'),
    commands: value('total_commands_processed'),
    scripts: calls('eval') + calls('evalsha'),
    memoryBytes: value('used_memory'),
  }
}

/** What one message cost over a stretch of many. */
export interface Cost {
  /** Of the process that did the work; undefined where the system does not tell. */
  cpuMs: number | undefined
  redisCpuMs: number
  redisCommands: number
  redisScripts: number
}

/** Reads the meters now. @returns a function that reads them again and gives the cost of each of `count` messages */
export async function startMeter(pid: number, redis: Redis): Promise<(count: number) => Promise<Cost>> {
  const before = await readRedis(redis)
  const cpuBefore = cpuSecondsOf(pid)
  return async (count) => {
    const cpuAfter = cpuSecondsOf(pid)
    const after = await readRedis(redis)
    return {
      cpuMs:
        cpuBefore === undefined || cpuAfter === undefined
          ? undefined
          : ((cpuAfter - cpuBefore) / count) * 1000,
      redisCpuMs: ((after.cpuSeconds - before.cpuSeconds) / count) * 1000,
      redisCommands: (after.commands - before.commands) / count,
      redisScripts: (after.scripts - before.scripts) / count,
    }
  }
}

/** @returns the most memory that the process ever had, resident, in bytes; undefined where there is no /proc */
export function peakMemoryOf(pid: number): number | undefined {
  try {
    const kibibytes = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
  } catch {
    return undefined
  }
}

/** Redis gives back what a connection needed for a while, a moment later. */
const REST_MS = 700
const RESTING_BYTES = 16_384

/** @returns what Redis holds, in bytes, once that stays the same */
export async function restingMemory(redis: Redis): Promise<number> {
  const deadline = performance.now() + 30_000
  let before = Number.NaN
  for (;;) {
    const { memoryBytes } = await readRedis(redis)
    if (Math.abs(memoryBytes - before) <= RESTING_BYTES || performance.now() > deadline) return memoryBytes
    before = memoryBytes
    await sleep(REST_MS)
  }
}
