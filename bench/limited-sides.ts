/** Four worker processes on several limits: ours, and the script with BullMQ's own limiter. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue } from 'bullmq'
import type { Deployment } from './deployment.ts'
import { account, concurrency, message } from './given.ts'
import { type House, laneOf } from './house.ts'
import type { Program } from './programs.ts'

export const PROCESSES = 4
const BATCH = 1_000

/** Where messages wait for their limit, per second; nothing goes out before `resume`. */
export interface LimitedSide {
  processes(): readonly Program[]
  senderOf(limit: number): string
  fill(limit: number, count: number): Promise<void>
  pause(limit: number): Promise<unknown>
  resume(limit: number): Promise<unknown>
  /** Repeatable. */
  close(): Promise<void>
}

/** Nobody gets two messages of a benchmark. */
let nextRecipient = 919_100_000_000
function* batches(count: number): Generator<string[]> {
  for (let left = count; left > 0; left -= BATCH)
    yield Array.from({ length: Math.min(BATCH, left) }, () => String(nextRecipient++))
}

/** Puts messages onto a paused lane, and waits until the last one is there. */
export async function fillLane(
  house: House,
  deployment: Deployment,
  id: string,
  count: number,
): Promise<void> {
  const lane = await laneOf(house, id)
  const before = await lane.count()
  for (const recipients of batches(count)) {
    const messages = recipients.map((to) => ({ account: id, to, message }))
    const { results } = await deployment.call('POST', '/v1/messages/batch', { messages })
    const refused = results.find((result: object) => 'error' in result)
    if (refused) throw new Error(`a message was refused: ${JSON.stringify(refused)}`)
  }
  while ((await lane.count()) < before + count) await sleep(20)
}

export async function openOurs(
  house: House,
  limits: readonly number[],
): Promise<LimitedSide & { /** Kills a worker, and starts another. */ replaceOne(): Promise<void> }> {
  const idOf = (limit: number) => `at-${limit}`
  const senderOf = (limit: number) => String(919_000_100_000 + limit)
  const accounts = limits.map((perSecond) => ({
    ...account,
    id: idOf(perSecond),
    sender: senderOf(perSecond),
    rateLimit: { perSecond },
  }))
  const deployment = await house.deploy('limits', accounts)
  const act = (limit: number, action: 'pause' | 'resume') =>
    deployment.call('POST', `/v1/accounts/${idOf(limit)}/${action}`)
  const running: Program[] = []
  for (const limit of limits) await act(limit, 'pause')
  for (let count = 0; count < PROCESSES; count++) running.push(await deployment.startWorker())
  return {
    processes: () => running,
    senderOf,
    fill: (limit, count) => fillLane(house, deployment, idOf(limit), count),
    pause: (limit) => act(limit, 'pause'),
    resume: (limit) => act(limit, 'resume'),
    async replaceOne() {
      await running.shift()!.kill()
      running.push(await deployment.startWorker())
    },
    close: () => deployment.stop(),
  }
}

export async function openTheirs(house: House, limits: readonly number[]): Promise<LimitedSide> {
  const senderOf = (limit: number) => String(919_000_200_000 + limit)
  const nameOf = (limit: number) => `limited-${limit}`
  const queues = new Map(
    limits.map((limit) => [limit, new Queue(nameOf(limit), { connection: { url: house.redisUrl } })]),
  )
  for (const queue of queues.values()) await queue.pause()
  const described = limits.map((limit) => ({
    name: nameOf(limit),
    sender: senderOf(limit),
    perSecond: limit,
  }))
  const running: Program[] = []
  for (let count = 0; count < PROCESSES; count++)
    running.push(
      await house.start({
        name: `limited${count}`,
        entry: 'bench/rivals/limited.ts',
        env: {
          REDIS_URL: house.redisUrl,
          ACCOUNT_URL: `${house.simulatorUrl}/v2/${account.sid}/whatsapp`,
          API_KEY: account.apiKey,
          CONCURRENCY: String(concurrency),
          QUEUES: JSON.stringify(described),
          NODE_ENV: 'production',
        },
        profiled: true,
      }),
    )
  return {
    processes: () => running,
    senderOf,
    async fill(limit, count) {
      for (const recipients of batches(count))
        await queues.get(limit)!.addBulk(recipients.map((to) => ({ name: 'send', data: { to, message } })))
    },
    pause: (limit) => queues.get(limit)!.pause(),
    resume: (limit) => queues.get(limit)!.resume(),
    async close() {
      await Promise.all([...queues.values()].map((queue) => queue.close()))
      await Promise.all(running.map((program) => program.stop()))
    },
  }
}
