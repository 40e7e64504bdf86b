/**
 * That limits hold, measured at the simulator by its own clock, with worker processes that know nothing of each other
 * but what lies in Redis. Here it is whether they hold at all: how exactly is told by the instants (limiter.test.ts),
 * which no busy machine can move, and by the benchmark, where nothing else runs.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { beforeAll, describe, expect, test } from 'vitest'
import type { StartedProcess } from '../scripts/processes.ts'
import { endings } from './endings.ts'
import { between, fastestSecond, paceOf, rateOf } from './pace.ts'
import { type TestRedis, useRedis } from './redis.ts'
import { allAccounts, replyButtons, type SeenRequest, type Stack, startStack } from './stack.ts'

const onEnd = endings()
let redis: TestRedis
let stack: Stack
const [kaleyra, gupshup] = allAccounts()
const WORKERS = 4
/** Held up for a moment, a process sends late what it would have sent: so much more may come in a second then. */
const HELD_UP = 1.4
const mostOf = (perSecond: number) => perSecond * HELD_UP + 2
/** How many wait; the fast one only while the others begin. */
const LIMITS = [
  { perSecond: 10, count: 400 },
  { perSecond: 80, count: 2_000 },
  { perSecond: 1_000, count: 9_000 },
]
const FAST = LIMITS.at(-1)!
const FAST_FOR_MS = 6_000
const FINDING_OUT_MS = 10_000
/** A real limit that is half of what the account says; by the simulator's `Retry-After`, and without. */
const TOO_HIGH = { configured: 80, really: 40, count: 1_600 }
const slowApps = [{ app: 'says-when', retryAfter: 1 }, { app: 'says-nothing' }]
const SHARED = { name: 'one-credential', perSecond: 40 }

const accounts: Record<string, unknown>[] = [
  ...LIMITS.map(({ perSecond }) => ({ id: `at-${perSecond}`, rateLimit: { perSecond } })),
  { id: 'shares-fast', rateLimit: { perSecond: 100, shared: SHARED } },
  { id: 'shares-slow', rateLimit: { perSecond: 2, shared: SHARED } },
  { id: 'patched', rateLimit: { perSecond: 20 } },
  { id: 'frozen', rateLimit: { perSecond: 400 } },
  { id: 'pairs', rateLimit: { perSecond: 300, pairPerMinute: 60 } },
]
/** The number that its account is known by in Redis, too. */
const numberOf = (id: string) => accounts.findIndex((account) => account.id === id) + 1
const senderOf = (id: string) => (numberOf(id) > 0 ? String(919_000_001_000 + numberOf(id)) : id)
const workers: StartedProcess[] = []
/** What arrived while everybody sent at once. */
const seen = new Map<string, SeenRequest[]>()
let tooHighIds: string[]

beforeAll(async () => {
  redis = await useRedis(onEnd)
  stack = await startStack({
    onEnd,
    redisUrl: redis.url,
    accounts: [
      ...accounts.map((account) => ({ ...kaleyra, sender: senderOf(String(account.id)), ...account })),
      ...slowApps.map(({ app }) => ({
        ...gupshup,
        id: app,
        appId: app,
        rateLimit: { perSecond: TOO_HIGH.configured },
      })),
    ],
    env: { LOG_LEVEL: 'warn' },
  })
  for (const { app, retryAfter } of slowApps)
    await stack.control('PUT', `accounts/gupshup/${app}`, {
      credentials: { token: 'sk_token' },
      rateLimit: { perSecond: TOO_HIGH.really, ...(retryAfter && { retryAfter }) },
    })
  await stack.startApi()
  await Promise.all(Array.from({ length: WORKERS }, addWorker))
  await everybodyAtOnce()
}, 180_000)

const addWorker = async () => void workers.push(await stack.startWorker())

/** Lets all of them go, kills workers and adds others meanwhile, and holds them again. */
async function everybodyAtOnce(): Promise<void> {
  const apps = slowApps.map(({ app }) => app)
  const others = [...LIMITS.map(({ perSecond }) => `at-${perSecond}`), 'shares-fast', 'shares-slow']
  const all = [...others, ...apps]
  await Promise.all(all.map((account) => act(account, 'pause')))
  for (const { perSecond, count } of LIMITS) await wait(`at-${perSecond}`, count)
  await wait('shares-fast', 800)
  await wait('shares-slow', 60)
  tooHighIds = (await Promise.all(apps.map((app) => wait(app, TOO_HIGH.count)))).flat()
  await Promise.all(others.map((account) => act(account, 'resume')))
  for (let killed = 0; killed < 2; killed++) {
    await sleep(FAST_FOR_MS / 3)
    await stack.kill(workers.shift()!)
    await addWorker()
  }
  await sleep(FAST_FOR_MS / 3)
  await act(`at-${FAST.perSecond}`, 'pause')
  await Promise.all(apps.map((account) => act(account, 'resume')))
  await sleep(FINDING_OUT_MS + 4_000)
  // Before they are held: it is what is known of them now.
  for (const app of apps) views.set(app, { ...(await view(app)), metrics: await gaugesOf(app) })
  await Promise.all(all.map((account) => act(account, 'pause')))
  for (const account of all) seen.set(account, await arrivals(account))
}
/** What the API and the metrics told. */
const views = new Map<string, any>()

let recipients = 0
const nextRecipient = () => String(919_700_000_000 + recipients++)
const act = async (account: string, action: 'pause' | 'resume') =>
  expect((await stack.call('POST', `/v1/accounts/${account}/${action}`)).status).toBe(200)
async function wait(account: string, count: number, to: (index: number) => string = nextRecipient) {
  const messages = Array.from({ length: count }, (_, index) => ({
    account,
    to: to(index),
    // Whose fate nobody knows because its worker was killed is not sent again, as a reaction would be.
    message: replyButtons(),
  }))
  return stack.sendAll(messages)
}
const arrivals = (account: string): Promise<SeenRequest[]> =>
  stack.requests({ account: senderOf(account), detail: 'false' })
async function view(account: string) {
  const { body } = await stack.call('GET', '/v1/accounts')
  return body.items.find(({ id }: { id: string }) => id === account)
}
async function gaugesOf(account: string): Promise<{ now: number; configured: number }> {
  const response = await fetch(`${stack.apiUrl}/metrics`, {
    headers: { authorization: `Bearer ${stack.key}` },
  })
  const text = await response.text()
  const gauge = (kind: string) =>
    Number(
      new RegExp(`^wa_dispatch_limit_per_second\\{account="${account}",kind="${kind}"\\} (.*)$`, 'm').exec(
        text,
      )?.[1],
    )
  return { now: gauge('now'), configured: gauge('configured') }
}

describe('a limit that four workers obey together, of whom some are killed and others added', () => {
  test.each(LIMITS)('of $perSecond a second is not passed, and used', ({ perSecond }) => {
    const all = seen.get(`at-${perSecond}`)!
    expect(fastestSecond(all)).toBeLessThanOrEqual(mostOf(perSecond))
    expect(rateOf(all)).toBeGreaterThanOrEqual(perSecond * 0.2)
    const accepted = all.filter((each) => each.accepted).map(({ recipient }) => recipient)
    expect(new Set(accepted).size).toBe(all.length)
  })

  test('goes evenly, not in bursts', () => {
    expect(paceOf(seen.get('at-80')!)).toBeLessThanOrEqual(80 * 2)
  })

  test('of all accounts on one credential is shared, and the slow one does not hold up the fast one', () => {
    const [fast, slow] = [seen.get('shares-fast')!, seen.get('shares-slow')!]
    expect(fastestSecond([...fast, ...slow])).toBeLessThanOrEqual(mostOf(SHARED.perSecond))
    expect(fastestSecond(slow)).toBeLessThanOrEqual(mostOf(2))
    expect(rateOf(fast)).toBeGreaterThanOrEqual(SHARED.perSecond * 0.4)
    expect(rateOf(slow)).toBeGreaterThan(1)
  })
})

describe('a provider that really allows half of what is configured', () => {
  test.each(slowApps)('is found out, and then its limit is kept and used ($app)', ({ app }) => {
    const { allowed_per_second: allowed, lowered_since: since, rate_limit: limit, metrics } = views.get(app)!
    expect(limit.per_second).toBe(TOO_HIGH.configured)
    expect(allowed).toBeLessThan(TOO_HIGH.configured * 0.75)
    expect(Date.parse(since)).toBeGreaterThan(Date.now() - 120_000)
    expect(metrics).toEqual({ now: expect.closeTo(allowed, -1), configured: TOO_HIGH.configured })
    const all = seen.get(app)!
    const settled = between(all, all[0]!.atMs + FINDING_OUT_MS)
    const refused = settled.filter(({ answer }) => answer.status === 429)
    expect(all.some(({ answer }) => answer.status === 429)).toBe(true)
    expect(refused.length / settled.length).toBeLessThan(0.1)
    expect(rateOf(settled.filter(({ accepted }) => accepted))).toBeGreaterThanOrEqual(TOO_HIGH.really * 0.4)
  })

  test('fails nothing', async () => {
    const some = tooHighIds.filter((_, index) => index % 10 === 0)
    const states = new Set((await Promise.all(some.map((id) => stack.read(id)))).map(({ state }) => state))
    expect([...states].filter((state) => state !== 'queued' && state !== 'submitted')).toEqual([])
  })
})

describe('workers that are held up do not send all that they missed at once', () => {
  const signal = (name: NodeJS.Signals) => {
    for (const worker of workers) worker.kill(name)
  }
  test.for([
    { by: 'themselves', holdUp: () => signal('SIGSTOP'), letGo: () => signal('SIGCONT') },
    { by: 'Redis', holdUp: () => redis.freeze(), letGo: () => redis.thaw() },
  ])('by $by', { timeout: 60_000 }, async ({ holdUp, letGo }) => {
    const account = 'frozen'
    await act(account, 'pause')
    await wait(account, 2_500)
    await act(account, 'resume')
    const bunches: number[] = []
    for (let round = 0; round < 5; round++) {
      await sleep(600)
      await holdUp()
      await sleep(300)
      const thawedAt = Date.now()
      await letGo()
      await sleep(300)
      const after = between(await arrivals(account), thawedAt).map(({ atMs }) => atMs)
      bunches.push(
        Math.max(...after.map((from) => after.filter((at) => at >= from && at < from + 20).length)),
      )
    }
    await act(account, 'pause')
    // 8 have their instants in so short a time, and two or three that are not used yet are. More come together when
    // the simulator is held up, but not every time.
    bunches.sort((a, b) => a - b)
    expect(bunches[1]).toBeLessThanOrEqual(20)
  })
})

describe('the limit of a pair', () => {
  test('holds up who writes much to few, and nobody else, and each job waits once', async () => {
    const account = 'pairs'
    const [few, each, distinct, borrowed] = [10, 200, 1_000, 45]
    const isOfFew = (to: string) => Number(to) < 919_600_000_000 + few
    await act(account, 'pause')
    // Much to few stands in front: it takes two minutes and a half.
    await wait(account, few * each, (index) => String(919_600_000_000 + (index % few)))
    const sent = await wait(account, distinct)
    await act(account, 'resume')
    await stack.untilAll(sent, ['submitted'], 60_000)
    await sleep(1_500)
    await act(account, 'pause')
    await sleep(500)
    const all = await arrivals(account)
    expect(all.filter(({ recipient }) => !isOfFew(recipient))).toHaveLength(distinct)
    const seconds = (all.at(-1)!.atMs - all[0]!.atMs) / 1_000
    for (let index = 0; index < few; index++) {
      const to = String(919_600_000_000 + index)
      const count = all.filter(({ recipient }) => recipient === to).length
      expect(count).toBeLessThanOrEqual(borrowed + seconds + 1)
      // Those whose turn has come meanwhile were sent.
      expect(count).toBeGreaterThanOrEqual(borrowed + 2)
    }
    // Hundreds wait for their pair, and no worker takes them in hand again and again.
    const connection = new Redis(redis.url, { maxRetriesPerRequest: null })
    const queue = new Queue(account, { connection, prefix: `wa:lane:{${numberOf(account)}}` })
    const delayed = await queue.getDelayed(0, few * each)
    expect(delayed.length).toBeGreaterThan(few * (each - borrowed) * 0.6)
    expect(Math.max(...delayed.map((job) => job.attemptsStarted))).toBeLessThanOrEqual(3)
    await queue.close()
    connection.disconnect()
  }, 90_000)
})

describe('a limit that is changed while everything runs', () => {
  test('holds for all workers within a second, and after a restart', async () => {
    const account = 'patched'
    const change = async (perSecond: number | null) => {
      const answer = await stack.call('PATCH', `/v1/accounts/${account}`, { rateLimit: { perSecond } })
      expect(answer).toMatchObject({ status: 200, body: { id: account } })
      return { body: answer.body, at: Date.now() }
    }
    await act(account, 'pause')
    await wait(account, 1_500)
    await act(account, 'resume')
    await sleep(1_500)
    const faster = await change(150)
    expect(faster.body.rate_limit.per_second).toBe(150)
    await sleep(3_000)
    const slower = await change(10)
    await sleep(3_000)

    const all = await arrivals(account)
    expect(fastestSecond(between(all, 0, faster.at))).toBeLessThanOrEqual(mostOf(20))
    const fast = between(all, faster.at + 1_000, 1_900)
    expect(fastestSecond(fast)).toBeLessThanOrEqual(mostOf(150))
    expect(rateOf(fast)).toBeGreaterThanOrEqual(150 * 0.4)
    const slow = between(all, slower.at + 1_000)
    expect(fastestSecond(slow)).toBeLessThanOrEqual(mostOf(10))
    expect(rateOf(slow)).toBeGreaterThanOrEqual(10 * 0.5)

    await Promise.all(workers.splice(0).map((worker) => worker.stop()))
    const restarted = Date.now()
    await Promise.all([addWorker(), addWorker()])
    await expect
      .poll(async () => between(await arrivals(account), restarted).length, { timeout: 20_000 })
      .toBeGreaterThan(10)
    expect(fastestSecond(between(await arrivals(account), restarted))).toBeLessThanOrEqual(mostOf(10))
    expect((await view(account)).rate_limit.per_second).toBe(10)
    const { body } = await change(null)
    expect(body.rate_limit.per_second).toBe(20)
    expect(
      await stack.call('PATCH', `/v1/accounts/${account}`, { rateLimit: { perSecond: 0 } }),
    ).toMatchObject({ status: 400 })
  }, 90_000)
})
