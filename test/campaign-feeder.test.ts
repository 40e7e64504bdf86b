/**
 * Campaigns on their way to a provider: real workers, a real Redis, the simulator. Whatever is asked meanwhile and
 * whatever dies: every row arrives once, or says why it did not.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  addToLane,
  type CampaignDefinition,
  type CampaignId,
  type CampaignRecord,
  type CampaignRow,
  Campaigns,
  createLane,
  feedKey,
  Ledger,
} from '@wa-dispatch/dispatch'
import { Redis } from 'ioredis'
import { beforeAll, describe, expect, type TestContext, test } from 'vitest'
import { endings, type OnEnd } from './endings.ts'
import { type TestRedis, useRedis } from './redis.ts'
import { allAccounts, replyButtons, type Stack, startStack } from './stack.ts'

const PATIENCE_MS = 60_000
const [kaleyra] = allAccounts()
let senders = 0
/** An account of its own for a test: the simulator tells them apart by their sender. */
const accountOf = (id: string, extra: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...kaleyra,
  id,
  sender: String(919_100_000_000 + senders++),
  ...extra,
})

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${holds}`)
    await sleep(100)
  }
}

/** Workers and the simulator, without an API: campaigns are made here. */
class House {
  readonly redis: TestRedis
  readonly stack: Stack
  readonly client: Redis
  readonly campaigns: Campaigns
  readonly ledger: Ledger
  readonly #accounts: Record<string, unknown>[]
  readonly #faults = new Map<string, Record<string, unknown>[]>()
  #telling: Promise<unknown> = Promise.resolve()

  static async open(onEnd: OnEnd, accounts: Record<string, unknown>[]): Promise<House> {
    const redis = await useRedis(onEnd)
    const env = { LOG_LEVEL: 'warn', WORKER_CONCURRENCY: '50' }
    const stack = await startStack({ onEnd, redisUrl: redis.url, accounts, env })
    const client = new Redis(redis.url)
    client.on('error', () => undefined)
    onEnd(async () => client.disconnect())
    const ledger = new Ledger({ redis: client, retentionDays: 7 })
    await ledger.open(accounts.map(({ id }) => String(id)))
    return new House(redis, stack, client, ledger, accounts)
  }

  private constructor(
    redis: TestRedis,
    stack: Stack,
    client: Redis,
    ledger: Ledger,
    accounts: Record<string, unknown>[],
  ) {
    this.redis = redis
    this.stack = stack
    this.client = client
    this.ledger = ledger
    this.campaigns = new Campaigns({ redis: client, ledger, retentionDays: 7 })
    this.#accounts = accounts
  }

  /** A campaign with these recipients, started. */
  async start(
    account: string,
    recipients: string[],
    extra: Partial<CampaignDefinition> = {},
  ): Promise<CampaignId> {
    const message = replyButtons('Hello {{name}}')
    const definition = { name: account, account, message, priority: 'bulk' as const, weight: 1, ...extra }
    const id = await this.campaigns.create(definition)
    for (let from = 0; from < recipients.length; from += 512) {
      const rows = recipients
        .slice(from, from + 512)
        .map((to, index): CampaignRow => ({ line: from + index + 1, to, values: [`number ${from + index}`] }))
      await this.campaigns.store(id, {}, from / 512, this.campaigns.pack(rows, new Map([['no', 1]])))
    }
    expect(await this.campaigns.act(id, 'start')).toMatchObject({ result: 'done' })
    return id
  }

  /** How often each recipient was written to, the times in order, by the simulator's clock. */
  async arrivals(account: string): Promise<{ times: Map<string, number>; at: number[]; to: string[] }> {
    const sender = String(this.#accounts.find(({ id }) => id === account)!.sender)
    const requests = await this.stack.requests({ account: sender, detail: 'false' })
    const times = new Map<string, number>()
    for (const { recipient } of requests) times.set(recipient, (times.get(recipient) ?? 0) + 1)
    return { times, at: requests.map(({ atMs }) => atMs), to: requests.map(({ recipient }) => recipient) }
  }

  async arrived(account: string, atLeast: number): Promise<void> {
    await eventually(async () => (await this.arrivals(account)).at.length >= atLeast)
  }

  /** Its counts add up at every look. @returns it when `done` says so */
  async until(id: CampaignId, done: (campaign: CampaignRecord) => boolean): Promise<CampaignRecord> {
    const deadline = performance.now() + PATIENCE_MS
    for (;;) {
      const campaign = (await this.campaigns.read(id))!
      const sum = Object.values(campaign.counts).reduce((all, count) => all + count, 0)
      expect(sum, JSON.stringify(campaign)).toBe(campaign.total)
      if (done(campaign)) return campaign
      if (performance.now() > deadline) throw new Error(`${id.text} is still ${JSON.stringify(campaign)}`)
      await sleep(50)
    }
  }
  finished = (id: CampaignId) => this.until(id, ({ finishedAt }) => finishedAt !== undefined)

  /** Each test's faults are its own. */
  async faults(account: string, ...faults: Record<string, unknown>[]): Promise<void> {
    const sender = String(this.#accounts.find(({ id }) => id === account)!.sender)
    const own = faults.map((fault) => ({ ...fault, account: sender }))
    this.#faults.set(account, own)
    this.#telling = this.#telling.then(() => this.stack.faults(...[...this.#faults.values()].flat()))
    await this.#telling
  }

  /** How long what the campaign has in Redis lives on: seconds, -1 for ever. By key. */
  async lives(id: CampaignId): Promise<Map<string, number>> {
    const lives = new Map<string, number>()
    const prefix = `wa:{${id.account}}:`
    for (const pattern of [
      `${prefix}k:${id.number}`,
      `${prefix}k:${id.number}:*`,
      `${prefix}b:*`,
      `${prefix}c:*`,
    ])
      for await (const keys of this.client.scanStream({ match: pattern, count: 1_000 }))
        for (const key of keys as string[]) lives.set(key, await this.client.ttl(key))
    return lives
  }
}

/** A refusal of the recipient: it stops no lane. */
const notOnWhatsApp = {
  kind: 'answer',
  status: 400,
  body: { error: { code: 131026, message: 'Message undeliverable' } },
}

const recipients = (count: number, from = 919_500_000_000) =>
  Array.from({ length: count }, (_, index) => String(from + index))
const once = (recipients: string[]) => new Map(recipients.map((to) => [to, 1]))
const sorted = (times: Map<string, number>) => new Map([...times].sort())

describe.concurrent('a campaign', { timeout: 120_000 }, () => {
  const onEnd = endings()
  let house: House
  beforeAll(async () => {
    house = await House.open(onEnd, [
      accountOf('plain'),
      accountOf('shared', { rateLimit: { perSecond: 200 } }),
      accountOf('paused', { rateLimit: { perSecond: 100 } }),
      accountOf('cancelled', { rateLimit: { perSecond: 100 } }),
      accountOf('scheduled'),
      accountOf('expiring', { rateLimit: { perSecond: 50 } }),
      accountOf('retried'),
      accountOf('retried-meanwhile', { rateLimit: { perSecond: 20 } }),
      accountOf('kept', { timeoutMs: 4_000 }),
      accountOf('broken', { rateLimit: { perSecond: 20 } }),
      accountOf('urgent', { rateLimit: { perSecond: 50 } }),
    ])
    await house.stack.startWorker()
    await house.stack.startWorker()
  })

  test('arrives once at every recipient, whoever is in the file twice', async () => {
    const all = recipients(2_500)
    const id = await house.start('plain', [...all, ...all.slice(0, 600)])
    const { counts, duplicates, samples } = await house.finished(id)
    expect({ counts, duplicates }).toEqual({ counts: { submitted: 2_500 }, duplicates: 600 })
    expect(samples.length).toBeGreaterThan(0)
    expect(sorted((await house.arrivals('plain')).times)).toEqual(once(all))
  })

  test('of weight 2 is served twice as much as one of weight 1, and both arrive', async () => {
    const heavy = recipients(1_200, 919_610_000_000)
    const light = recipients(900, 919_620_000_000)
    // At the same time: the lane of one that came first would be full for ten seconds.
    const sendAt = Date.now() + 2_000
    const ids = [
      await house.start('shared', light, { weight: 1, sendAt }),
      await house.start('shared', heavy, { weight: 2, sendAt }),
    ]
    for (const id of ids) await house.finished(id)
    const { to, times } = await house.arrivals('shared')
    expect(sorted(times)).toEqual(once([...heavy, ...light]))
    const isHeavy = (recipient: string) => recipient.startsWith('91961')
    const stretch = to.slice(200, 1_400)
    expect(Math.abs(stretch.filter(isHeavy).length - 800)).toBeLessThanOrEqual(40)
  })

  test('lets single messages go first, also when it is called transactional itself', async () => {
    const id = await house.start('urgent', recipients(400, 919_640_000_000), { priority: 'transactional' })
    await house.arrived('urgent', 20)
    const to = '447700900999'
    const [single] = await house.ledger.createIds('urgent', 1)
    const priority = 'transactional'
    const content = JSON.stringify({ account: 'urgent', message: replyButtons(), priority })
    await house.ledger.accept('urgent', [{ id: single!, to, content, idempotent: false }])
    const lane = createLane('urgent', house.ledger, house.client)
    await addToLane(lane, [{ id: single!, generation: 0, to, type: 'interactive', priority, delayMs: 0 }])
    const before = (await house.arrivals('urgent')).at.length
    await house.finished(id)
    // Behind the few that have their instant or are fetched already.
    expect((await house.arrivals('urgent')).to.indexOf(to) - before).toBeLessThan(100)
  })

  test('that is paused stops within a second, leaves the lane, and goes on where it was', async () => {
    const all = recipients(600)
    const id = await house.start('paused', all)
    await house.arrived('paused', 100)
    await house.campaigns.act(id, 'pause')
    const pausedAt = Date.now()
    await sleep(2_500)
    const { at } = await house.arrivals('paused')
    expect(at.filter((time) => time > pausedAt + 1_000)).toEqual([])
    expect(at.length).toBeLessThan(500)
    const paused = await house.campaigns.read(id)
    expect([paused?.state, paused?.laneWork]).toEqual(['paused', undefined])
    await house.campaigns.act(id, 'resume')
    expect((await house.finished(id)).counts).toEqual({ submitted: 600 })
    expect(sorted((await house.arrivals('paused')).times)).toEqual(once(all))
  })

  test('that is cancelled stops within a second and says what was sent and what was not', async () => {
    // More than the lane holds: some are no messages yet.
    const id = await house.start('cancelled', recipients(3_000))
    await house.arrived('cancelled', 100)
    await house.campaigns.act(id, 'cancel')
    const cancelledAt = Date.now()
    const { state, counts } = await house.finished(id)
    await sleep(1_500)
    const { at } = await house.arrivals('cancelled')
    expect(state).toBe('cancelled')
    expect(counts).toEqual({ submitted: at.length, cancelled: 3_000 - at.length })
    expect(at.filter((time) => time > cancelledAt + 1_000)).toEqual([])
    const depths = await house.ledger.depths('cancelled')
    expect(depths).toEqual({ waiting: 0, sending: 0, uncertain: 0 })
    expect(await house.client.exists(house.campaigns.waitingKey(id))).toBe(0)
  })

  test('with send_at begins then and not before', async () => {
    const sendAt = Date.now() + 2_000
    const id = await house.start('scheduled', recipients(50), { sendAt })
    expect((await house.campaigns.read(id))?.state).toBe('scheduled')
    await house.finished(id)
    const { at, times } = await house.arrivals('scheduled')
    expect(times.size).toBe(50)
    expect(Math.min(...at)).toBeGreaterThanOrEqual(sendAt - 5)
  })

  test('with expires_at ends then: what was not sent is expired, messages and rows alike', async () => {
    const expiresAt = Date.now() + 3_000
    const id = await house.start('expiring', recipients(1_000), { expiresAt })
    const { state, counts } = await house.finished(id)
    const { at } = await house.arrivals('expiring')
    expect(state).toBe('finished')
    expect(at.length).toBeGreaterThan(0)
    expect(counts).toEqual({ submitted: at.length, expired: 1_000 - at.length })
    expect(Math.max(...at)).toBeLessThan(expiresAt + 1_000)
  })

  test('sends failed ones again as often as it is asked: those with a code, and all', async () => {
    const refused = { recipientPrefix: '91971', effect: { kind: 'error', name: 'WA400' } }
    const broke = { recipientPrefix: '91972', effect: notOnWhatsApp }
    await house.faults('retried', refused, broke)
    const [bad, poor, good] = [919_710_000_000, 919_720_000_000, 919_730_000_000].map((from) =>
      recipients(300, from),
    ) as [string[], string[], string[]]
    const id = await house.start('retried', [...bad, ...poor, ...good])
    expect((await house.finished(id)).counts).toEqual({ failed: 600, submitted: 300 })
    const retry = async (...codes: string[]) => {
      expect(await house.campaigns.act(id, 'retry', codes)).toEqual({ result: 'done', state: 'running' })
      return (await house.finished(id)).counts
    }
    expect(await retry('131026')).toEqual({ failed: 600, submitted: 300 })
    await house.faults('retried', refused)
    expect(await retry('NONE')).toEqual({ failed: 600, submitted: 300 })
    expect(await retry('131026')).toEqual({ failed: 300, submitted: 600 })
    await house.faults('retried')
    expect(await retry()).toEqual({ submitted: 900 })
    const { times } = await house.arrivals('retried')
    for (const [all, often] of [
      [bad, 2],
      [poor, 3],
      [good, 1],
    ] as const)
      expect(new Set(all.map((to) => times.get(to)))).toEqual(new Set([often]))
  })

  test('sends failed ones again while it runs', async () => {
    await house.faults('retried-meanwhile', {
      recipientPrefix: '91972',
      effect: notOnWhatsApp,
    })
    const all = [...recipients(20, 919_720_000_000), ...recipients(100)]
    const id = await house.start('retried-meanwhile', all)
    await house.until(id, ({ counts }) => (counts.failed ?? 0) >= 20)
    await house.faults('retried-meanwhile')
    expect(await house.campaigns.act(id, 'retry')).toEqual({ result: 'done', state: 'running' })
    expect((await house.finished(id)).counts).toEqual({ submitted: 120 })
    const { times } = await house.arrivals('retried-meanwhile')
    expect([...times.values()].filter((often) => often === 2)).toHaveLength(20)
    expect([...times.values()].filter((often) => often === 1)).toHaveLength(100)
  })

  test('that is over ends with retention, and a retry keeps all of it until it is over again', async () => {
    await house.faults('kept', { recipientPrefix: '91982', effect: notOnWhatsApp })
    const all = [...recipients(600, 919_810_000_000), ...recipients(10, 919_820_000_000)]
    const id = await house.start('kept', all)
    const retired = async () => {
      await house.finished(id)
      await eventually(async () => (await house.campaigns.active('kept')).length === 0)
      const lives = await house.lives(id)
      expect(lives.size).toBeGreaterThan(610 / 16 + 4)
      for (const [key, seconds] of lives) expect(seconds, key).toBeGreaterThan(6 * 86_400)
    }
    await retired()
    await house.faults('kept', { latency: { fixedMs: 2_000 } })
    await house.campaigns.act(id, 'retry')
    await house.until(id, ({ counts }) => counts.sending === 10)
    for (const [key, seconds] of await house.lives(id)) expect(seconds, key).toBe(-1)
    expect((await house.finished(id)).counts).toEqual({ submitted: 610 })
    await retired()
  })

  test('that cannot be fed any more does not keep the others of its account from going on as before', async () => {
    // As after an account was moved to a provider that cannot carry the message.
    const broken = await house.start('broken', recipients(50), { message: { type: 'reaction' } })
    const all = recipients(2_000, 919_510_000_000)
    const id = await house.start('broken', all)
    await house.arrived('broken', 80)
    // The lane holds ten seconds of work; what is fed without getting there would have no bounds.
    const { fed } = (await house.campaigns.read(id))!
    expect(fed - (await house.arrivals('broken')).at.length).toBeLessThan(400)
    expect(await house.campaigns.read(broken)).toMatchObject({ state: 'running', counts: { queued: 50 } })
    for (const one of [broken, id]) await house.campaigns.act(one, 'cancel')
    expect((await house.finished(broken)).counts).toEqual({ cancelled: 50 })
    await house.finished(id)
    const { times } = await house.arrivals('broken')
    expect([...times].filter(([, often]) => often > 1)).toEqual([])
  })
})

describe.concurrent('a campaign whose', { timeout: 120_000 }, () => {
  const COUNT = 1_200
  const all = recipients(COUNT)
  async function houseOf(context: TestContext): Promise<House> {
    const onEnd = (end: () => Promise<void>) => context.onTestFinished(end)
    return House.open(onEnd, [accountOf('only', { rateLimit: { perSecond: 100 } })])
  }

  /** Every row is accounted for; only what was in flight may be uncertain, and nobody got anything twice. */
  async function accounted(house: House, id: CampaignId, mostUncertain: number): Promise<void> {
    const { counts } = await house.until(id, ({ counts }) => {
      const { submitted = 0, uncertain = 0, failed = 0 } = counts
      return submitted + uncertain + failed === COUNT
    })
    const { times } = await house.arrivals('only')
    const { submitted = 0, uncertain = 0 } = counts
    expect(submitted + uncertain).toBe(COUNT)
    expect(uncertain).toBeLessThanOrEqual(mostUncertain)
    expect([...times].filter(([, often]) => often > 1)).toEqual([])
    expect(times.size).toBeGreaterThanOrEqual(submitted)
  }

  test.for(['SIGKILL', 'SIGSTOP'] as const)(
    'feeding worker gets %s is fed by another within seconds, and nothing comes twice',
    async (signal, context) => {
      const house = await houseOf(context)
      // The first is the one that feeds when the second comes.
      const feeder = await house.stack.startWorker()
      await eventually(async () => (await house.client.exists(feedKey)) === 1)
      await house.stack.startWorker()
      const id = await house.start('only', all)
      await house.arrived('only', 50)
      if (signal === 'SIGKILL') await house.stack.kill(feeder)
      else feeder.kill('SIGSTOP')
      const { fed } = (await house.campaigns.read(id))!
      expect(fed).toBeLessThan(COUNT)
      const before = performance.now()
      await house.until(id, (campaign) => campaign.fed > fed)
      expect(performance.now() - before).toBeLessThan(15_000)
      await house.arrived('only', 700)
      if (signal === 'SIGSTOP') feeder.kill('SIGCONT')
      await accounted(house, id, 50)
    },
  )

  test('feeding worker dies between making messages and adding their jobs loses none', async (context) => {
    const house = await houseOf(context)
    const feeder = house.stack.dies(
      await house.stack.startWorker({ module: 'kill-at.ts', env: { KILL_AT: 'fed' } }),
    )
    const id = await house.start('only', all)
    expect((await feeder.exited).signal).toBe('SIGKILL')
    const { fed } = (await house.campaigns.read(id))!
    expect(fed).toBeGreaterThan(0)
    expect(await house.client.keys('wa:lane:*prioritized')).toEqual([])
    await house.stack.startWorker()
    await accounted(house, id, 0)
    expect((await house.finished(id)).counts).toEqual({ submitted: COUNT })
    expect(sorted((await house.arrivals('only')).times)).toEqual(once(all))
  })

  test('Redis is killed and comes back arrives once all the same', async (context) => {
    const house = await houseOf(context)
    await house.stack.startWorker()
    await house.stack.startWorker()
    const id = await house.start('only', all)
    await house.arrived('only', 100)
    await house.redis.kill()
    await sleep(1_500)
    await house.redis.start()
    await accounted(house, id, 0)
    expect((await house.finished(id)).counts).toEqual({ submitted: COUNT })
    expect(sorted((await house.arrivals('only')).times)).toEqual(once(all))
  })
})
