import { setTimeout as sleep } from 'node:timers/promises'
import { UnrecoverableError, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { endings } from '../../../test/endings.ts'
import { useRedis } from '../../../test/redis.ts'
import { startSwallowingProxy } from '../../../test/swallowing-proxy.ts'
import { JobEnds } from './job-ends.ts'
import { addToLane, createLane, type Lane, type LaneJob } from './lanes.ts'
import { Ledger, type MessageId, parseMessageId, type Settled, type Settlement } from './ledger/index.ts'

const onEnd = endings()
const account = 'kaleyra-in'
const { url } = await useRedis(onEnd)
let redis: Redis
let laneRedis: Redis
let ledger: Ledger
let lane: Lane
let jobEnds: JobEnds
let worker: Worker<LaneJob, string> | undefined

beforeEach(async () => {
  redis = new Redis(url)
  laneRedis = new Redis(url, { maxRetriesPerRequest: null })
  await redis.flushall()
  ledger = new Ledger({ redis, retentionDays: 7 })
  await ledger.open([account])
  lane = createLane(account, ledger, laneRedis)
  jobEnds = new JobEnds(ledger)
  byItself = 0
})
afterEach(async () => {
  laneRedis.disconnect()
  await worker?.close(true)
  worker = undefined
  redis.disconnect()
  laneRedis.disconnect()
})

/** Messages that are stored, and on the lane. */
async function accept(count: number): Promise<MessageId[]> {
  const ids = await ledger.createIds(account, count)
  const message = { to: '919876543210', content: '{}', idempotent: false, type: 'reaction' }
  await ledger.accept(
    account,
    ids.map((id) => ({ id, ...message })),
  )
  await addToLane(
    lane,
    ids.map((id) => ({ id, ...message, generation: 0, priority: 'transactional', delayMs: 0 })),
  )
  return ids
}

const submitted = (attempt: number): Settlement => ({
  attempt,
  outcome: 'accepted',
  code: '202',
  durationMs: 12,
  state: 'submitted',
  counts: true,
  requestId: crypto.randomUUID(),
})

async function claim(id: MessageId): Promise<Settlement> {
  const claim = await ledger.claim(id, 0, 60_000, crypto.randomUUID())
  if (claim.kind !== 'claimed') throw new Error(claim.kind)
  return submitted(claim.attempt)
}

/** A worker that claims, and settles at the end of its job. */
async function work(
  before: (job: string) => unknown = () => undefined,
): Promise<{ answers: Promise<Settled>[]; failed: string[] }> {
  const answers: Promise<Settled>[] = []
  const failed: string[] = []
  worker = new Worker(
    lane.name,
    async (job) => {
      const id = parseMessageId(job.data.message)!
      const settlement = await claim(id)
      await before(job.id!)
      answers.push(jobEnds.settle(job.id!, id, settlement, () => settleByItself(id, settlement)))
      return 'submitted'
    },
    {
      connection: laneRedis,
      prefix: lane.opts.prefix!,
      concurrency: 20,
      skipVersionCheck: true,
      autorun: false,
    },
  )
  worker.on('error', () => undefined)
  worker.on('failed', (_job, { message }) => failed.push(message))
  await worker.waitUntilReady()
  jobEnds.join(laneRedis)
  void worker.run()
  return { answers, failed }
}

let byItself = 0
async function settleByItself(id: MessageId, settlement: Settlement): Promise<Settled> {
  byItself++
  for (;;) {
    try {
      return await ledger.settle(id, settlement)
    } catch {
      await sleep(20)
    }
  }
}

test('each message is settled in the step that ends its job', async () => {
  const ids = await accept(60)
  const { answers } = await work()
  await expect.poll(() => lane.getJobCounts('completed', 'active', 'wait')).toMatchObject({ completed: 60 })
  expect(await Promise.all(answers)).toEqual(ids.map(() => ({ settled: true, state: 'submitted' })))
  const found = await Promise.all(ids.map((id) => ledger.read(id)))
  expect(found.map((message) => message?.state)).toEqual(ids.map(() => 'submitted'))
  expect(found.every((message) => message?.requestId)).toBe(true)
  expect(byItself).toBe(0)
})

test('a message whose job is not ended now is settled by itself', async () => {
  await work()
  const [id] = await ledger.createIds(account, 1)
  await ledger.accept(account, [{ id: id!, to: '919876543210', content: '{}', idempotent: false }])
  const settlement = await claim(id!)
  const settled = jobEnds.settle(`${id!.text}-0`, id!, settlement, () => settleByItself(id!, settlement))
  expect(await settled).toEqual({ settled: true, state: 'submitted' })
  expect((await ledger.read(id!))?.state).toBe('submitted')
})

test('a message is settled also when its job is lost to another worker', async () => {
  const [id] = await accept(1)
  const { answers } = await work((job) => redis.set(`${lane.toKey(job)}:lock`, 'of another'))
  await expect.poll(() => answers.length).toBe(1)
  expect(await answers[0]).toEqual({ settled: true, state: 'submitted' })
  expect((await ledger.read(id!))?.state).toBe('submitted')
  expect(await lane.getActiveCount()).toBe(1)
})

test('a job whose message Redis does not let settle waits for it', async () => {
  const [id] = await accept(1)
  const { answers, failed } = await work(() => redis.config('SET', 'maxmemory', '1'))
  await expect.poll(() => byItself).toBe(1)
  await sleep(100)
  expect((await ledger.read(id!))?.state).toBe('sending')
  expect(await lane.getActiveCount()).toBe(1)
  await redis.config('SET', 'maxmemory', '0')
  expect(await answers[0]).toEqual({ settled: true, state: 'submitted' })
  await expect.poll(() => lane.getCompletedCount()).toBe(1)
  expect(failed).toEqual([])
})

test('what does not wait for a settlement ends beside what does', async () => {
  const [id] = await accept(3)
  const { answers, failed } = await work((job) => {
    if (job === `${id!.text}-0`) return redis.config('SET', 'maxmemory', '1')
    throw new UnrecoverableError('of no use')
  })
  await expect.poll(() => lane.getFailedCount()).toBe(2)
  await expect.poll(() => byItself).toBe(1)
  expect(failed).toEqual(['of no use', 'of no use'])
  await redis.config('SET', 'maxmemory', '0')
  expect(await answers[0]).toEqual({ settled: true, state: 'submitted' })
})

test('a message is settled also when the connection that ends jobs carries nothing any more', async () => {
  const proxy = await startSwallowingProxy(url, onEnd)
  laneRedis.disconnect()
  laneRedis = new Redis(proxy.url, { maxRetriesPerRequest: null })
  await lane.close()
  lane = createLane(account, ledger, laneRedis)
  const [id] = await accept(1)
  const { answers } = await work(() => proxy.swallow(':marker'))
  await expect.poll(() => answers.length).toBe(1)
  const silentSince = performance.now()
  expect(await answers[0]).toEqual({ settled: true, state: 'submitted' })
  expect(performance.now() - silentSince).toBeLessThan(2_000)
  expect(byItself).toBe(1)
  expect((await ledger.read(id!))?.state).toBe('submitted')
}, 30_000)
