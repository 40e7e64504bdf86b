/** What Redis keeps of a campaign that is finished: rows, messages with their attempt, index of request ids. */
import { join } from 'node:path'
import { expectArrivals, readArrivals } from './arrivals.ts'
import { act, createCampaign, insideOf, upload } from './campaigns.ts'
import { account } from './given.ts'
import type { House } from './house.ts'
import { restingMemory } from './meters.ts'
import { writeRecipients } from './recipients.ts'

export interface Finished {
  /** Of Redis, for each row. */
  memoryBytes: number
  /** Messages, from the first to the last arrival. */
  perSecond: number
}

export interface FinishedOptions {
  rows: number
  log: (line: string) => void
}

/** What is there once, however many messages there are, is there after so many. */
const WARM_UP_ROWS = 512

export async function measureFinished(house: House, { rows, log }: FinishedOptions): Promise<Finished> {
  const { redis, simulatorUrl } = house
  const file = join(house.directory, 'finished.csv')
  const deployment = await house.deploy('memory')
  try {
    const worker = await deployment.startWorker()
    const inside = await insideOf(redis, [account.id])

    async function send(count: number, seed: number): Promise<number> {
      writeRecipients(file, { rows: count, seed })
      const id = await createCampaign(deployment, { account: account.id })
      await upload(deployment, id, file, count)
      const arrived = await expectArrivals(simulatorUrl, count, () => worker.mustRun())
      await act(deployment, id, 'start')
      const perSecond = await arrived()
      await inside.retired()
      const { counts } = await inside.record(id)
      if (counts.submitted !== count)
        throw new Error(`of ${count} messages ${counts.submitted} were submitted`)
      return perSecond
    }

    await send(Math.min(WARM_UP_ROWS, rows), 31)
    const before = await restingMemory(redis)
    const perSecond = await send(rows, 32)
    const memoryBytes = ((await restingMemory(redis)) - before) / rows
    log(`memory: ${memoryBytes.toFixed(1)} bytes a row; ${Math.round(perSecond)} messages a second`)
    await mustBeKept()
    return { memoryBytes, perSecond }

    /** What was measured is there: message, attempt, and request id. */
    async function mustBeKept(): Promise<void> {
      const { requestId, reference } = (await readArrivals(simulatorUrl)).at(-1)!
      const { items } = await deployment.call('GET', `/v1/messages?request_id=${requestId}`)
      if (items.length !== 1 || items[0].id !== reference || items[0].attempts.length !== 1)
        throw new Error(
          `${requestId} does not lead to ${reference} and its attempt: ${JSON.stringify(items)}`,
        )
    }
  } finally {
    await deployment.stop()
  }
}
