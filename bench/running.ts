/**
 * What is felt while a large campaign runs at an account's limit: how long a single message waits, how a second
 * campaign is served beside it, and how soon pausing and cancelling take effect.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Arrival, forgetArrivals, mustBeDistinct, readArrivals } from './arrivals.ts'
import { act, countsOf, createCampaign, until, upload } from './campaigns.ts'
import { account, message } from './given.ts'
import type { House } from './house.ts'
import { livesIn, randomFrom, writeRecipients } from './recipients.ts'
import { type Served, servedIn, share } from './served.ts'
import { type SlowCommands, watchSlowCommands } from './slow-commands.ts'

export interface Running extends Served {
  /** Single messages, from their acceptance to their arrival, in ms, in ascending order. */
  waitsMs: number[]
  /** From the answer to each pause until the last arrival of that campaign; 0 when none came after it. */
  pausedMs: number[]
  /** The same of cancelling. */
  cancelledMs: number
  slow: SlowCommands
}

export interface RunningOptions {
  /** Rows of the large campaign. */
  rows: number
  /** For how long single messages are sent beside the campaigns. */
  seconds: number
  pauses: number
  log: (line: string) => void
}

export const PER_SECOND = 80
const limited = { ...account, id: 'kaleyra-80', sender: '919000000002', rateLimit: { perSecond: PER_SECOND } }
/** Large to small. */
export const WEIGHTS = [2, 1] as const
const SINGLE_PER_SECOND = 4
/** After a pause, what comes late has so long to come. */
const LATE_MS = 4_000

export async function measureRunning(house: House, options: RunningOptions): Promise<Running> {
  const { redis, simulatorUrl } = house
  const { rows, seconds, pauses, log } = options
  const random = randomFrom(80)
  const files = { large: join(house.directory, 'large.csv'), small: join(house.directory, 'small.csv') }
  // More than it can be served: it must not end before the large one.
  const smallRows = (seconds + 60 * (pauses + 2)) * PER_SECOND
  writeRecipients(files.large, { rows, seed: 21 })
  writeRecipients(files.small, { rows: smallRows, seed: 22, countries: ['spain'] })
  const deployment = await house.deploy('running', [limited])
  const ofLarge = ({ recipient }: Arrival) => !livesIn('spain', recipient!) && !livesIn('britain', recipient!)
  const ofSmall = ({ recipient }: Arrival) => livesIn('spain', recipient!)

  try {
    await deployment.startWorker()
    const slowCommands = await watchSlowCommands(redis)
    const create = async (weight: number, file: string, count: number) => {
      const id = await createCampaign(deployment, { account: limited.id, weight })
      await upload(deployment, id, file, count)
      return id
    }
    const large = await create(WEIGHTS[0], files.large, rows)
    const small = await create(WEIGHTS[1], files.small, smallRows)
    await forgetArrivals(simulatorUrl)
    await Promise.all([act(deployment, large, 'start'), act(deployment, small, 'start')])
    await until('both sent', async () => {
      const arrivals = await readArrivals(simulatorUrl)
      return arrivals.some(ofLarge) && arrivals.some(ofSmall)
    })
    const accepted = await sendSingles()
    await sleep(1_000)
    const arrivals = await readArrivals(simulatorUrl)
    const waitsMs = waits(arrivals, accepted)
    const served = servedIn(arrivals.filter(ofLarge), arrivals.filter(ofSmall), WEIGHTS)
    log(
      `running: ${accepted.size} single messages, half within ${Math.round(share(waitsMs, 0.5))} ms, 99 % within ${Math.round(share(waitsMs, 0.99))} ms; ` +
        `at most ${(served.worstDeviation * 100).toFixed(1)} % from ${WEIGHTS.join(':')}`,
    )

    const pausedMs: number[] = []
    for (let pause = 0; pause < pauses; pause++) {
      pausedMs.push(await stop('pause'))
      await act(deployment, large, 'resume')
      const since = (await readArrivals(simulatorUrl)).at(-1)!.seq
      await until('sent again', async () => (await readArrivals(simulatorUrl, since)).some(ofLarge))
      await sleep(1_000 * random())
    }
    const cancelledMs = await stop('cancel')
    const { queued = 0, cancelled = 0 } = await countsOf(deployment, large)
    if (cancelled === 0 || queued > 0) throw new Error(`after its end ${queued} rows are still queued`)
    const slow = await slowCommands()
    log(
      `running: last arrival ${pausedMs.map(Math.round).join(' and ')} ms after a pause, ${Math.round(cancelledMs)} ms after cancelling`,
    )
    await mustBeDistinct(simulatorUrl, served.arrivals)
    return { ...served, waitsMs, pausedMs, cancelledMs, slow }

    /** One after the other at random moments. @returns when each was accepted, by recipient */
    async function sendSingles(): Promise<Map<string, number>> {
      const accepted = new Map<string, number>()
      const end = performance.now() + seconds * 1_000
      for (let number = 7_700_000_000; performance.now() < end; number++) {
        await sleep((-Math.log(1 - random()) * 1_000) / SINGLE_PER_SECOND)
        await deployment.call('POST', '/v1/messages', { account: limited.id, to: `44${number}`, message })
        accepted.set(`44${number}`, Date.now())
      }
      return accepted
    }

    /** @returns milliseconds from the answer to the last arrival of the large campaign */
    async function stop(action: 'pause' | 'cancel'): Promise<number> {
      await act(deployment, large, action)
      const answeredAt = Date.now()
      await sleep(LATE_MS)
      const all = await readArrivals(simulatorUrl)
      const late = all.filter(({ atMs }) => atMs > answeredAt)
      if (!late.some(ofSmall)) throw new Error(`after the ${action} nothing was sent at all`)
      return Math.max(0, (all.findLast(ofLarge)?.atMs ?? 0) - answeredAt)
    }
  } finally {
    await deployment.stop()
  }
}

/** @throws when one did not arrive */
function waits(arrivals: Arrival[], accepted: Map<string, number>): number[] {
  const arrivedAt = new Map(arrivals.map(({ recipient, atMs }) => [recipient, atMs]))
  const all = [...accepted].map(([recipient, at]) => {
    const arrived = arrivedAt.get(recipient)
    if (arrived === undefined) throw new Error('a single message did not arrive within a second')
    return Math.max(0, arrived - at)
  })
  return all.sort((a, b) => a - b)
}
