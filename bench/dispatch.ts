/** How fast what was accepted goes out: our worker process against the script in rivals/dispatch.ts. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue } from 'bullmq'
import { expectArrivals } from './arrivals.ts'
import type { Deployment } from './deployment.ts'
import { account, concurrency, message } from './given.ts'
import { type House, laneOf } from './house.ts'
import { type Cost, readRedis, startMeter } from './meters.ts'
import { inPairs, type Pair, type Side } from './pairs.ts'
import type { Program } from './programs.ts'
import { rivalQueue } from './rivals/queue.ts'

/** One round of one side. */
export interface Dispatched extends Cost {
  perSecond: number
  /** What Redis keeps of each message once it is finished. */
  memoryBytes: number
}

export interface DispatchOptions {
  pairs: number
  /** In each round. */
  messages: number
  warmUp: number
  log: (line: string) => void
}

const BATCH = 1_000

/** One of the two, as a round sees it. */
interface Contestant {
  process: Program
  pause(): Promise<unknown>
  /** From here on it is timed. */
  resume(): Promise<unknown>
  add(recipients: string[]): Promise<unknown>
  /** Messages that are not finished. */
  unfinished(): Promise<number>
}

export async function measureDispatch(house: House, options: DispatchOptions): Promise<Pair<Dispatched>[]> {
  const { redis, simulatorUrl } = house
  const deployment = await house.deploy('dispatch')
  const queue = new Queue(rivalQueue, { connection: { url: house.redisUrl } })
  const sides: Record<Side, Contestant> = {
    ours: await openOurs(house, deployment),
    theirs: await openTheirs(house, queue),
  }
  let recipient = 919_000_000_000

  async function round(side: Side, count: number): Promise<Dispatched> {
    const { process, pause, resume, add, unfinished } = sides[side]
    await pause()
    const { memoryBytes } = await readRedis(redis)
    for (let added = 0; added < count; added += BATCH) {
      await add(Array.from({ length: Math.min(BATCH, count - added) }, () => String(recipient++)))
    }
    const arrived = await expectArrivals(simulatorUrl, count, () => process.mustRun())
    const costs = await startMeter(process.pid, redis)
    await resume()
    const perSecond = await arrived()
    while ((await unfinished()) > 0) await sleep(20)
    const cost = await costs(count)
    return { ...cost, perSecond, memoryBytes: ((await readRedis(redis)).memoryBytes - memoryBytes) / count }
  }

  try {
    for (const side of ['ours', 'theirs'] as const) if (options.warmUp > 0) await round(side, options.warmUp)
    return await inPairs(
      options.pairs,
      (side) => round(side, options.messages),
      ({ ours, theirs }, number) =>
        options.log(
          `dispatch ${number}: ${Math.round(ours.perSecond)} and ${Math.round(theirs.perSecond)} a second`,
        ),
    )
  } finally {
    await queue.close()
    await Promise.all(Object.values(sides).map(({ process }) => process.stop()))
    await deployment.stop()
  }
}

async function openOurs(house: House, deployment: Deployment): Promise<Contestant> {
  const lane = await laneOf(house)
  return {
    process: await deployment.startWorker(),
    pause: () => deployment.call('POST', `/v1/accounts/${account.id}/pause`),
    resume: () => deployment.call('POST', `/v1/accounts/${account.id}/resume`),
    async add(recipients) {
      const before = await lane.count()
      const messages = recipients.map((to) => ({ account: account.id, to, message }))
      const { results } = await deployment.call('POST', '/v1/messages/batch', { messages })
      const refused = results.find((result: object) => 'error' in result)
      if (refused) throw new Error(`a message was refused: ${JSON.stringify(refused)}`)
      // A message is accepted before its job is on the lane; the other side has added its jobs by now.
      while ((await lane.count()) < before + recipients.length) await sleep(5)
    },
    async unfinished() {
      return sum(Object.values(await deployment.depth(account.id)))
    },
  }
}

async function openTheirs(house: House, queue: Queue): Promise<Contestant> {
  const { sid, sender, apiKey } = account
  return {
    process: await house.start({
      name: 'script',
      entry: 'bench/rivals/dispatch.ts',
      env: {
        REDIS_URL: house.redisUrl,
        MESSAGES_URL: `${house.simulatorUrl}/v2/${sid}/whatsapp/${sender}/messages`,
        API_KEY: apiKey,
        CONCURRENCY: String(concurrency),
        NODE_ENV: 'production',
      },
      profiled: true,
    }),
    pause: () => queue.pause(),
    resume: () => queue.resume(),
    add: (recipients) => queue.addBulk(recipients.map((to) => ({ name: 'send', data: { to, message } }))),
    async unfinished() {
      const { failed = 0, ...counts } = await queue.getJobCounts('wait', 'active', 'delayed', 'failed')
      if (failed > 0) throw new Error(`${failed} jobs of the script failed`)
      return sum(Object.values(counts))
    },
  }
}

const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0)
