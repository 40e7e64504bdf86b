import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { endings } from '../../../test/endings.ts'
import { useRedis } from '../../../test/redis.ts'
import { laneScript } from './lane-script.ts'
import { addToLane, createLane, jobIdOf, type Lane } from './lanes.ts'
import { Ledger, type MessageId, type NewMessage } from './ledger/index.ts'

const onEnd = endings()
const account = 'kaleyra-in'
let redis: Redis
let laneRedis: Redis
let ledger: Ledger
let lane: Lane

beforeAll(async () => {
  const { url } = await useRedis(onEnd)
  redis = new Redis(url)
  laneRedis = new Redis(url, { maxRetriesPerRequest: null })
})
afterAll(() => {
  redis?.disconnect()
  laneRedis?.disconnect()
})
beforeEach(async () => {
  await redis.flushall()
  ledger = new Ledger({ redis, retentionDays: 7 })
  await ledger.open([account])
  lane = createLane(account, ledger, laneRedis)
  await lane.waitUntilReady()
})

const message = (id: MessageId, more: Partial<NewMessage> = {}): NewMessage => ({
  id,
  to: '919876543210',
  content: '{}',
  idempotent: false,
  type: 'reaction',
  ...more,
})

async function jobAs(id: MessageId) {
  const { timestamp, ...job } = await redis.hgetall(lane.toKey(jobIdOf(id, 0)))
  const data = JSON.parse(job.data!)
  return {
    ...job,
    data: { ...data, message: undefined },
    opts: { ...JSON.parse(job.opts!), jobId: undefined },
  }
}

test.each([
  ['plain', {}],
  ['with a reference full of signs', { reference: 'order/"1042"\\ ü😀\n\u2028' }],
  ['to the longest number there is', { to: '999999999999999' }],
  ['of another kind', { type: 'interactive' }],
])('a message %s gets the job that BullMQ itself would make', async (_name, more) => {
  const [one, other] = await ledger.createIds(account, 2)
  await ledger.accept(account, [message(one!, more)], laneScript(lane))
  const { to, type, reference } = message(other!, more)
  await addToLane(lane, [
    { id: other!, generation: 0, to, type: type!, reference, priority: 'transactional', delayMs: 0 },
  ])
  expect(await jobAs(one!)).toEqual(await jobAs(other!))
  expect((await lane.getJob(jobIdOf(one!, 0)))?.data).toEqual({
    message: one!.text,
    generation: 0,
    to,
    ...(reference !== undefined && { reference }),
  })
  expect(await lane.getWaitingCount()).toBe(2)
  const events = await redis.xrange(lane.toKey('events'), '-', '+')
  const eventsOf = (id: MessageId) =>
    events.map(([, fields]) => fields.join(' ')).filter((text) => text.includes(id.text))
  const nameless = (id: MessageId) => eventsOf(id).map((text) => text.replaceAll(id.text, 'msg'))
  expect(nameless(one!)).toEqual(nameless(other!))
  expect(eventsOf(one!).length).toBeGreaterThan(0)
})

test('a message that comes again, or is there already, gets no second job', async () => {
  const [id] = await ledger.createIds(account, 1)
  const script = laneScript(lane)
  expect(await ledger.accept(account, [message(id!), message(id!)], script)).toMatchObject([
    { state: 'queued' },
    { state: 'queued' },
  ])
  await ledger.accept(account, [message(id!)], script)
  expect(await lane.getWaiting()).toHaveLength(1)
})

test('a lane that takes no job keeps nothing from being accepted', async () => {
  await redis.set(lane.toKey('wait'), 'not a list')
  const ids = await ledger.createIds(account, 3)
  const taken = await ledger.accept(
    account,
    ids.map((id) => message(id)),
    laneScript(lane),
  )
  expect(taken.map(({ state }) => state)).toEqual(['queued', 'queued', 'queued'])
  expect(await ledger.depths(account)).toMatchObject({ waiting: 3 })
})
