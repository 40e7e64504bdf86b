/** Whether a message costs more in a large campaign than in a small one: the same worker sends both, in turn. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { forgetArrivals, mustBeDistinct } from './arrivals.ts'
import { act, countsOf, createCampaign, insideOf, until, upload } from './campaigns.ts'
import type { Deployment } from './deployment.ts'
import { account } from './given.ts'
import type { House } from './house.ts'
import { type Cost, startMeter } from './meters.ts'
import { inPairs, type Pair } from './pairs.ts'
import { writeRecipients } from './recipients.ts'

/** Messages of one campaign, from one moment to another. */
export interface Sent extends Cost {
  perSecond: number
  /** Rows that became messages meanwhile, for each message sent. */
  fed: number
}

export interface ScaleOptions {
  pairs: number
  /** Rows of the large campaign. */
  rows: number
  /** Rows of each small campaign, and messages of a round. */
  fewRows: number
  warmUp: boolean
  log: (line: string) => void
}

const large = account
const small = { ...account, id: 'kaleyra-few', sender: '919000000001' }
/** The feeder looks five times a second. */
const LOOK_MS = 600
/** Of a round: what is sent of the large campaign before it is measured, and at most while it is. */
const RUN_UP = 0.3
const LONGEST = 1.3

/** @returns pairs of the large campaign ("ours") and a small one */
export async function measureScale(house: House, options: ScaleOptions): Promise<Pair<Sent>[]> {
  const { redis, simulatorUrl } = house
  const { rows, fewRows, log } = options
  const needed = Math.ceil(fewRows * (RUN_UP + LONGEST + 0.4) * (options.pairs + 1))
  if (rows < needed) throw new Error(`the large campaign needs ${needed} rows for ${options.pairs} pairs`)
  const files = { large: join(house.directory, 'large.csv'), small: join(house.directory, 'small.csv') }
  writeRecipients(files.large, { rows, seed: 7 })
  writeRecipients(files.small, { rows: fewRows, seed: 8 })
  const deployment = await house.deploy('scale', [large, small])
  try {
    const worker = await deployment.startWorker()
    const inside = await insideOf(redis, [small.id])
    await deployment.call('POST', `/v1/accounts/${large.id}/pause`)
    const largeId = await createCampaign(deployment, { account: large.id })
    await upload(deployment, largeId, files.large, rows)
    await act(deployment, largeId, 'start')

    const sent = async (id: string) => (await countsOf(deployment, id)).submitted ?? 0

    /** @param begin from here on, messages of this campaign go out; absent: they do already */
    async function measure(id: string, begin?: () => Promise<unknown>): Promise<Sent> {
      const read = async () => ({ sent: await sent(id), fed: (await inside.record(id)).fed })
      const before = await read()
      const costs = await startMeter(worker.pid, redis)
      const from = performance.now()
      await begin?.()
      const count = { sent: 0, fed: 0 }
      await until('sent', async () => {
        worker.mustRun()
        const now = await read()
        count.sent = now.sent - before.sent
        count.fed = now.fed - before.fed
        if (count.sent < fewRows) return false
        // Rows are fed in bursts: it ends where as many were fed as sent.
        return Math.abs(count.fed / count.sent - 1) <= 0.01 || count.sent >= LONGEST * fewRows
      })
      const perSecond = count.sent / ((performance.now() - from) / 1000)
      return { ...(await costs(count.sent)), perSecond, fed: count.fed / count.sent }
    }

    const sides = {
      // Its lane is full when it begins, and is kept full while messages go out.
      async ours() {
        await resting(deployment)
        await forgetArrivals(simulatorUrl)
        const before = await sent(largeId)
        await deployment.call('POST', `/v1/accounts/${large.id}/resume`)
        await until('under way', async () => (await sent(largeId)) >= before + RUN_UP * fewRows)
        const one = await measure(largeId)
        await deployment.call('POST', `/v1/accounts/${large.id}/pause`)
        await resting(deployment)
        await mustBeDistinct(simulatorUrl, fewRows)
        return one
      },
      // From its first row to its last: all of it is fed and sent meanwhile.
      async theirs() {
        const id = await createCampaign(deployment, { account: small.id })
        await upload(deployment, id, files.small, fewRows)
        await forgetArrivals(simulatorUrl)
        const one = await measure(id, () => act(deployment, id, 'start'))
        await inside.retired()
        await mustBeDistinct(simulatorUrl, fewRows)
        return one
      },
    }
    if (options.warmUp) for (const side of ['ours', 'theirs'] as const) await sides[side]()
    return await inPairs(
      options.pairs,
      (side) => sides[side](),
      ({ ours, theirs }, number) =>
        log(
          `scale ${number}: ${ours.cpuMs?.toFixed(3)} and ${theirs.cpuMs?.toFixed(3)} ms of CPU, ` +
            `${ours.redisCommands.toFixed(1)} and ${theirs.redisCommands.toFixed(1)} commands a message`,
        ),
    )
  } finally {
    await deployment.stop()
  }
}

/** Waits until the paused lane of the large campaign is filled and nothing of it is in flight. */
async function resting(deployment: Deployment): Promise<void> {
  let before = -1
  await until('at rest', async () => {
    const { waiting = 0, active = 0 } = await deployment.depth(large.id)
    const rests = active === 0 && waiting === before
    before = waiting
    if (!rests) await sleep(LOOK_MS)
    return rests
  })
}
