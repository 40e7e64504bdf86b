import { DelayedError, UnrecoverableError, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { endings } from '../../../test/endings.ts'
import { useRedis } from '../../../test/redis.ts'
import { createLane, type LaneJob } from './lanes.ts'
import { Ledger } from './ledger/index.ts'
import { connectLanes } from './redis.ts'

const onEnd = endings()
const { url } = await useRedis(onEnd)

/** @returns how many entries the lane's stream of events has after a job of each fate */
async function eventsOn(connection: Redis): Promise<number> {
  const redis = new Redis(url)
  const account = 'kaleyra-in'
  await redis.flushall()
  const ledger = new Ledger({ redis, retentionDays: 7 })
  await ledger.open([account])
  const lane = createLane(account, ledger, connection)
  const data: LaneJob = { message: 'msg_1', generation: 0, to: '919876543210' }
  for (const [name, options] of Object.entries({ plain: {}, last: { priority: 10 }, later: { delay: 50 } })) {
    await lane.add(name, data, options)
    await lane.add(name, data, options)
  }
  await lane.add('removed', data).then((job) => job.remove())
  await lane.pause()
  await lane.resume()
  const worker = new Worker<LaneJob>(
    lane.name,
    async (job, token) => {
      if (job.name === 'last') throw new UnrecoverableError('no')
      if (job.name === 'later' && job.attemptsStarted === 1) {
        await job.moveToDelayed(Date.now() + 50, token)
        throw new DelayedError()
      }
    },
    { connection, prefix: lane.opts.prefix ?? '', skipVersionCheck: true, drainDelay: 1 },
  )
  worker.on('error', () => undefined)
  await expect
    .poll(() => lane.getJobCounts('completed', 'failed'), { timeout: 20_000 })
    .toEqual({ completed: 4, failed: 2 })
  await worker.close()
  const events = await redis.xlen(lane.toKey('events'))
  redis.disconnect()
  connection.disconnect()
  return events
}

test('nothing is written of what happens to the jobs of a lane', async () => {
  const plain = new Redis(url, { maxRetriesPerRequest: null })
  const lanes = connectLanes(plain)
  expect(await eventsOn(plain)).toBeGreaterThan(20)
  expect(await eventsOn(lanes)).toBe(0)
})
