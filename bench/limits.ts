/**
 * Whether limits hold, by the simulator's clock: four worker processes of ours, and four with BullMQ's own limiter, on
 * the same limits with as many messages waiting; ours while workers are killed and added, too.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fastestSecond, rateOf } from '../test/pace.ts'
import { type Arrival, readArrivals } from './arrivals.ts'
import { type FoundOut, openFoundOut } from './found-out.ts'
import type { House } from './house.ts'
import { type LimitedSide, openOurs, openTheirs } from './limited-sides.ts'
import { type LimiterCost, measureLimiterCost } from './limiter-cost.ts'
import { cpuSecondsOf } from './meters.ts'
import type { Pair } from './pairs.ts'

/** Per second. The fast one has the machine for itself. */
const SLOW = [10, 80]
const FAST = 1_000
/** Workers that are killed while the limits are looked at, each followed by a new one. */
export const KILLS = 4

/** What arrived on one limit, over a stretch of time. */
export interface Paced {
  limit: number
  /** The most in any second, wherever it begins. */
  fastestSecond: number
  perSecond: number
  /** Of all its processes, for each message; undefined where the system does not tell. */
  cpuMs: number | undefined
}

export interface Limits {
  paced: Pair<Paced>[]
  restless: Paced[]
  foundOut: FoundOut[]
  cost: Pair<LimiterCost>[]
}

export interface LimitsOptions {
  /** Messages on each limit. */
  waiting: number
  /** For how long each limit is looked at. */
  seconds: number
  /** Within which a provider's own limit has to be found out. */
  settlingSeconds: number
  /** Of the limiter's cost. */
  pairs: number
  messages: number
  log: (line: string) => void
}

export async function measureLimits(house: House, options: LimitsOptions): Promise<Limits> {
  const paces = await measurePaces(house, options)
  await house.empty()
  return { ...paces, cost: await measureLimiterCost(house, options) }
}

async function measurePaces(house: House, options: LimitsOptions): Promise<Omit<Limits, 'cost'>> {
  const { waiting, seconds, log } = options
  const ours = await openOurs(house, [...SLOW, FAST])
  const theirs = await openTheirs(house, [...SLOW, FAST])
  const tooHigh = await openFoundOut(house, options)
  const sides = { ours, theirs }
  try {
    for (const side of Object.values(sides))
      for (const limit of [...SLOW, FAST]) await side.fill(limit, waiting)

    // What asks hardly anything of the machine is looked at together.
    const [foundOut, ...slow] = await Promise.all([
      sleep(Math.min(WARM_UP_MS, seconds * 1_000)).then(tooHigh.measure),
      ...SLOW.map(async (limit) => {
        const [ours, theirs] = await Promise.all([warmLook(sides.ours, limit), warmLook(sides.theirs, limit)])
        return { ours, theirs }
      }),
    ])
    const fast = { ours: await warmLook(ours, FAST), theirs: await warmLook(theirs, FAST) }
    const paced = [...slow, fast]
    for (const { ours, theirs } of paced) log(`limits: ${told(ours)}; BullMQ's limiter ${told(theirs)}`)
    await Promise.all([theirs.close(), tooHigh.close()])

    await ours.fill(FAST, waiting)
    const [restless] = await Promise.all([
      Promise.all([...SLOW, FAST].map((limit) => look(ours, limit))),
      killAndAdd(ours),
    ])
    for (const paced of restless) log(`limits: while workers are killed and added, ${told(paced)}`)
    return { paced, restless, foundOut }
  } finally {
    await Promise.all([theirs.close(), tooHigh.close()])
    await ours.close()
  }

  /** Processes that are still being compiled hold each other up, and the simulator whose clock it goes by. */
  async function warmLook(side: LimitedSide, limit: number): Promise<Paced> {
    const warmUpMs = Math.min(WARM_UP_MS, seconds * 1_000)
    await side.fill(limit, Math.ceil((limit * warmUpMs) / 1_000))
    await side.resume(limit)
    await sleep(warmUpMs)
    await side.pause(limit)
    await sleep(STARTING_MS)
    return look(side, limit)
  }

  /** Lets messages go on this limit for a while. */
  async function look(side: LimitedSide, limit: number): Promise<Paced> {
    const cpuSeconds = () =>
      side.processes().reduce((sum, { pid }) => sum + (cpuSecondsOf(pid) ?? Number.NaN), 0)
    const before = { cpuSeconds: cpuSeconds(), atMs: Date.now() }
    await side.resume(limit)
    // Who began a little late is looked at as long as the others.
    await sleep(seconds * 1_000 + STARTING_MS)
    await side.pause(limit)
    const spent = cpuSeconds() - before.cpuSeconds
    const all = (await readArrivals(house.simulatorUrl, 0, side.senderOf(limit))).filter(
      ({ atMs }) => atMs > before.atMs,
    )
    mustBeDistinct(all)
    const first = all[0]?.atMs ?? 0
    const looked = all.filter(({ atMs }) => atMs <= first + seconds * 1_000)
    if (looked.length < 2) throw new Error(`on a limit of ${limit} a second hardly anything arrived`)
    return {
      limit,
      fastestSecond: fastestSecond(looked),
      perSecond: rateOf(looked),
      cpuMs: spent > 0 ? (spent / all.length) * 1_000 : undefined,
    }
  }

  async function killAndAdd(side: typeof ours): Promise<void> {
    for (let kills = 0; kills < KILLS; kills++) {
      await sleep((seconds * 1_000) / (KILLS + 1))
      await side.replaceOne()
    }
  }
}

const WARM_UP_MS = 4_000
/** From being let go to the first message. */
const STARTING_MS = 1_000

const told = ({ limit, fastestSecond, perSecond }: Paced) =>
  `${limit} a second: at most ${fastestSecond} in one, ${perSecond.toFixed(1)} on average`

/** @throws when one was accepted twice */
function mustBeDistinct(arrivals: Arrival[]): void {
  const accepted = arrivals.filter((each) => each.accepted).map(({ recipient }) => recipient)
  const twice = accepted.length - new Set(accepted).size
  if (twice > 0) throw new Error(`${twice} messages arrived twice`)
}
