import { Redis } from 'ioredis'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { endings } from '../../../../test/endings.ts'
import { useRedis } from '../../../../test/redis.ts'
import { parseAccounts } from '../accounts.ts'
import { type CampaignId, Campaigns, RowsGoneError } from '../campaigns/index.ts'
import { bring, feed, recipients, testDefinition, upload } from '../campaigns/testing.ts'
import { addToLane, createLane, jobIdOf, type Lane } from '../lanes.ts'
import { createMessageId, Ledger, type MessageId } from '../ledger/index.ts'
import { accountKeys } from '../ledger/keys.ts'
import { connectLanes } from '../redis.ts'
import { AccountRuns, readReconciliation } from './account-run.ts'
import { reconcileCampaign } from './campaign.ts'
import type { ReconcileTools } from './inspection.ts'
import { Mender } from './mend.ts'
import { askedAgainAt, Questions } from './questions.ts'

const onEnd = endings()
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
let redis: Redis
let laneRedis: Redis
let tools: ReconcileTools
let ledger: Ledger
let campaigns: Campaigns
const lanes = new Map<string, Lane>()
/** Each test goes on later than the one before: what it left behind is of no account of its own. */
let now = Date.now()

let accountsMade = 0
const credentials = {
  kaleyra: { sid: 'HXAP16XXXXXX97IN', apiKey: 'k', sender: '919000000000' },
  zixflow: { apiKey: 'k', workspaceId: 'w', phoneId: 'p' },
  'zixflow-campaign': { token: 't', phoneId: 'p' },
}

/** An account of its own for a test, with its lane. */
async function laneOf(provider: keyof typeof credentials = 'kaleyra') {
  const id = `account-${++accountsMade}`
  const [account] = parseAccounts({ accounts: [{ id, provider, ...credentials[provider] }] }, {})
  await ledger.open([id])
  const lane = createLane(id, ledger, laneRedis)
  lanes.set(id, lane)
  return { account: account!, lane }
}
type TestLane = Awaited<ReturnType<typeof laneOf>>

beforeAll(async () => {
  redis = new Redis((await useRedis(onEnd)).url)
  laneRedis = connectLanes(redis)
  ledger = new Ledger({ redis, retentionDays: 7, clock: () => now })
  campaigns = new Campaigns({ redis, ledger, retentionDays: 7 })
  const mender = new Mender({ ledger, redis, log: pino({ level: 'silent' }) })
  tools = { ledger, campaigns, mender, questions: new Questions(redis, ledger) }
})
afterAll(() => {
  redis?.disconnect()
  laneRedis?.disconnect()
})

/** A running campaign with so many rows, all of them messages with jobs on the lane. */
async function running(
  { account, lane }: TestLane,
  rows: number,
): Promise<{ id: CampaignId; ids: MessageId[] }> {
  const id = await campaigns.create({ ...testDefinition, account: account.id })
  await upload(tools, id, recipients(rows))
  await campaigns.act(id, 'start')
  const ids = await feed(tools, id, rows)
  const entries = ids.map((message, index) => entryOf(message, recipients(rows)[index]!))
  await addToLane(lane, entries)
  return { id, ids }
}
const entryOf = (id: MessageId, to: string, generation = 0) =>
  ({ id, generation, to, type: 'interactive', priority: 'bulk', ofCampaign: true, delayMs: 0 }) as const

const reconcile = async (lane: TestLane, id: CampaignId, afterMs = DAY_MS, mostListed = 100) =>
  reconcileCampaign(tools, lane, (await campaigns.read(id))!, { afterMs, mostListed })

/** How many jobs of these messages the lane would run. */
async function jobsOf({ lane }: TestLane): Promise<string[]> {
  const jobs = await lane.getJobs(['wait', 'prioritized', 'delayed'], 0, -1)
  return jobs.map(({ data }) => data.message).sort()
}

describe('reconciling a campaign', () => {
  it('finds nothing where there is nothing, and counts what the campaign counts', async () => {
    const lane = await laneOf()
    const { id, ids } = await running(lane, 600)
    for (const message of ids.slice(0, 300)) await bring(tools, message, 'submitted')
    for (const message of ids.slice(0, 300)) await lane.lane.remove(jobIdOf(message, 0))
    now += 10_000
    const { found, countsAgree, lostRows } = await reconcile(lane, id)
    expect(found).toMatchObject({
      lookedAt: 600,
      states: { submitted: 300, queued: 300 },
      unheard: { count: 0 },
      uncertain: { count: 0 },
      withoutJob: { count: 0 },
      lostClaims: { count: 0 },
      asked: 0,
    })
    expect(countsAgree).toBe(true)
    expect(lostRows.count).toBe(0)
  })

  it('puts lost jobs back on the lane, once', async () => {
    const lane = await laneOf()
    const { id, ids } = await running(lane, 40)
    const lost = ids.slice(10, 25)
    for (const message of lost) await lane.lane.remove(jobIdOf(message, 0))
    now += 10_000
    const [first, beside] = await Promise.all([reconcile(lane, id), reconcile(lane, id)])
    expect(first.found.withoutJob.count + beside.found.withoutJob.count).toBeGreaterThanOrEqual(15)
    expect(await jobsOf(lane)).toEqual(ids.map(({ text }) => text).sort())
    expect(first.countsAgree).toBe(true)
    expect((await reconcile(lane, id)).found.withoutJob.count).toBe(0)
    expect(await jobsOf(lane)).toHaveLength(40)
  })

  it('gives a message a new job where the old one has run to its end for nothing', async () => {
    const lane = await laneOf()
    const { id, ids } = await running(lane, 1)
    await redis.hset(lane.lane.toKey(jobIdOf(ids[0]!, 0)), 'finishedOn', now)
    await redis.zrem(lane.lane.toKey('prioritized'), jobIdOf(ids[0]!, 0))
    now += 10_000
    const { found } = await reconcile(lane, id)
    expect(found.withoutJob).toEqual({ count: 1, items: [ids[0]!.text] })
    expect((await ledger.read(ids[0]!))?.generation).toBe(1)
    const [job] = await lane.lane.getJobs(['prioritized'])
    expect(job?.data.generation).toBe(1)
  })

  it('leaves a paused campaign’s messages without jobs', async () => {
    const lane = await laneOf()
    const { id, ids } = await running(lane, 5)
    await campaigns.act(id, 'pause')
    for (const message of ids) await lane.lane.remove(jobIdOf(message, 0))
    now += 10_000
    const { found, countsAgree } = await reconcile(lane, id)
    expect(found.withoutJob.count).toBe(0)
    expect(countsAgree).toBe(true)
    expect(await jobsOf(lane)).toEqual([])
  })

  it('gives up claims whose time is over, and no others', async () => {
    const lane = await laneOf()
    const { id, ids } = await running(lane, 3)
    const [dead, alive] = ids as [MessageId, MessageId]
    await ledger.claim(dead, 0, 5_000, 'dead')
    await ledger.claim(alive, 0, 60_000, 'alive')
    now += 10_000
    const { found, countsAgree } = await reconcile(lane, id)
    expect(found.lostClaims).toEqual({ count: 1, items: [{ id: dead.text, state: 'uncertain' }] })
    expect(countsAgree).toBe(true)
    expect((await ledger.read(alive))?.state).toBe('sending')
    const again = await reconcile(lane, id)
    expect(again.found).toMatchObject({ lostClaims: { count: 0 }, uncertain: { count: 1 } })
    expect(again.found.uncertain.items).toEqual([{ id: dead.text, since: now }])
    const settlement = {
      attempt: 1,
      outcome: 'accepted',
      code: 'WA202',
      durationMs: 9,
      counts: true,
    } as const
    const late = await ledger.settle(dead, { ...settlement, state: 'submitted', requestId: 'late' })
    expect(late).toEqual({ settled: true, state: 'submitted' })
  })

  it('lists what was submitted long ago and has heard nothing since', async () => {
    const lane = await laneOf()
    const { id, ids } = await running(lane, 30)
    for (const message of ids.slice(0, 20)) await bring(tools, message, 'submitted')
    await ledger.applyReceipts(lane.account.id, [
      { messageId: ids[0]!, status: 'delivered', state: 'delivered', at: now },
      { messageId: ids[1]!, status: 'enqueued', at: now },
    ])
    now += DAY_MS - 1_000
    expect((await reconcile(lane, id)).found.unheard.count).toBe(0)
    now += 2_000
    const { found } = await reconcile(lane, id, DAY_MS, 5)
    expect(found.unheard).toEqual({ count: 18, items: ids.slice(2, 7).map(({ text }) => text) })
    expect(found.asked).toBe(0)
  })

  it('expects no receipts of a provider that sends none', async () => {
    const lane = await laneOf('zixflow-campaign')
    const { id, ids } = await running(lane, 2)
    for (const message of ids) await bring(tools, message, 'submitted')
    now += 2 * DAY_MS
    expect((await reconcile(lane, id)).found.unheard.count).toBe(0)
  })

  it('lists rows whose places hold other messages, and does not touch those', async () => {
    const lane = await laneOf()
    const { id, ids } = await running(lane, 20)
    const taken = ids[3]!
    // Redis lost its last moments, and gave the place away again.
    const bucket = Math.floor(taken.sequence / 16)
      .toString(16)
      .padStart(9, '0')
    await redis.del(accountKeys(taken.account).bucket(bucket))
    const other = createMessageId(taken.account, taken.sequence, (taken.salt ^ 1) >>> 0)
    const content = JSON.stringify({
      account: lane.account.id,
      message: { type: 'interactive' },
      priority: 'bulk',
    })
    await ledger.accept(lane.account.id, [{ id: other, to: '919876543210', content, idempotent: false }])
    now += 10_000
    const { found, lostRows } = await reconcile(lane, id)
    expect(lostRows.count).toBe(16)
    expect(lostRows.items).toContainEqual({ line: 4, id: taken.text })
    expect(found).toMatchObject({ lookedAt: 20, states: { queued: 20 } })
    expect((await ledger.read(other))?.state).toBe('queued')
  })

  it('says when the campaign counts something else', async () => {
    const lane = await laneOf()
    const { id, ids } = await running(lane, 4)
    for (const message of ids) await bring(tools, message, 'submitted')
    expect((await reconcile(lane, id)).countsAgree).toBe(true)
    await redis.hincrby(accountKeys(id.account).campaign(id.number), '6', 1)
    expect((await reconcile(lane, id)).countsAgree).toBe(false)
  })

  it('says so when the rows are no longer kept', async () => {
    const lane = await laneOf()
    const { id } = await running(lane, 4)
    const record = (await campaigns.read(id))!
    await redis.del(accountKeys(id.account).campaign(id.number))
    await expect(reconcileCampaign(tools, lane, record, { afterMs: DAY_MS, mostListed: 1 })).rejects.toThrow(
      RowsGoneError,
    )
  })
})

describe('questions', () => {
  it('are put once, asked about when due, and come back when nobody got done with them', async () => {
    const lane = await laneOf('zixflow')
    const { id, ids } = await running(lane, 3)
    for (const message of ids) await bring(tools, message, 'submitted')
    now += 2 * DAY_MS
    expect((await reconcile(lane, id)).found.asked).toBe(3)
    const { questions } = tools
    const account = lane.account.id
    const taken = await questions.take(account, now, 1_000)
    await questions.putOff(account, taken!, askedAgainAt(now, now - 2 * DAY_MS))
    await questions.drop(account, (await questions.take(account, now, 1_000))!)
    const lost = await questions.take(account, now, 1_000)
    expect(await questions.take(account, now, 1_000)).toBeUndefined()
    now += 1_001
    expect((await questions.take(account, now, 1_000))?.text).toBe(lost?.text)
    expect(await questions.take(account, now, 1_000)).toBeUndefined()
    // Another run does not bring forward what was put off.
    await reconcile(lane, id)
    const again = await questions.take(account, now, 1_000)
    expect(again?.text).not.toBe(taken?.text)
    expect(await questions.take(account, now, 1_000)).toBeUndefined()
    now += 2 * DAY_MS
    expect(await questions.count(account)).toBe(3)
  })

  it('are not put about a retried message by the request id of the attempt before', async () => {
    const lane = await laneOf('zixflow')
    const { id, ids } = await running(lane, 1)
    const [message] = ids as [MessageId]
    await bring(tools, message, 'submitted')
    const requestId = `req-${message.text}`
    await ledger.applyReceipts(lane.account.id, [{ requestId, status: 'failed', state: 'failed', at: now }])
    now += HOUR_MS
    expect(await ledger.reopen(lane.account.id, [{ id: message, content: '{}' }])).toEqual([1])
    await ledger.claim(message, 1, 5_000, 'again')
    const settlement = { attempt: 2, outcome: 'accepted', code: '200', durationMs: 9, counts: true } as const
    await ledger.settle(message, { ...settlement, state: 'submitted' })
    now += 2 * DAY_MS
    const { found } = await reconcile(lane, id)
    expect(found.unheard.count).toBe(1)
    expect(found.asked).toBe(0)
  })
})

describe('looking through all messages of an account', () => {
  const options = { afterMs: DAY_MS, everyMs: HOUR_MS, goesOn: async () => true }
  const runs = () => new AccountRuns(redis, tools)

  async function single({ account }: TestLane, count: number): Promise<MessageId[]> {
    const ids = await ledger.createIds(account.id, count)
    const content = JSON.stringify({
      account: account.id,
      message: { type: 'text' },
      priority: 'transactional',
    })
    for (let from = 0; from < count; from += 500) {
      const some = ids.slice(from, from + 500)
      await ledger.accept(
        account.id,
        some.map((id) => ({ id, to: '919876543210', content, idempotent: false })),
      )
    }
    return ids
  }

  it('meets single messages and campaigns’ alike, and comes again when it is time', async () => {
    const lane = await laneOf('zixflow')
    const ids = await single(lane, 50)
    for (const id of ids.slice(0, 20)) await bring(tools, id, 'submitted')
    await bring(tools, ids[20]!, 'uncertain')
    const { ids: rows } = await running(lane, 600)
    for (const id of rows.slice(0, 30)) await bring(tools, id, 'submitted')
    for (const id of rows.slice(0, 30)) await lane.lane.remove(jobIdOf(id, 0))
    await lane.lane.remove(jobIdOf(rows[40]!, 0))
    now += 2 * DAY_MS
    const result = await runs().tend(lane, options)
    // 29 single messages that wait have no jobs, as nobody added any, and one row's job was lost.
    expect(result).toMatchObject({ lookedAt: 650, unheard: 50, uncertain: 1, mended: 30, asked: 50 })
    expect(await readReconciliation(ledger, redis, lane.account.id)).toEqual(result)
    expect(await runs().tend(lane, options)).toBeUndefined()
    now += HOUR_MS
    expect(await runs().tend(lane, options)).toMatchObject({ lookedAt: 650, mended: 0 })
    expect(await tools.questions.count(lane.account.id)).toBe(50)
  })

  it('goes on where another stopped, and counts nothing twice', async () => {
    const lane = await laneOf()
    await single(lane, 12_000)
    now += 10_000
    let asked = 0
    const stops = async () => ++asked % 2 === 1
    let result: Awaited<ReturnType<AccountRuns['tend']>>
    let parts = 0
    for (; !result && parts < 100; parts++) result = await runs().tend(lane, { ...options, goesOn: stops })
    expect(parts).toBeGreaterThan(1)
    expect(result?.lookedAt).toBe(12_000)
    expect(await jobsOf(lane)).toHaveLength(12_000)
  })

  it('does not begin with what is gone, but finds what comes into use before it', async () => {
    const lane = await laneOf()
    const { account } = lane
    const draft = await campaigns.create({ ...testDefinition, account: account.id })
    await upload(tools, draft, recipients(20))
    const old = await single(lane, 5_000)
    const kept = await single(lane, 100)
    const keys = accountKeys(ledger.numberOf(account.id))
    const buckets = new Set(
      old.map(({ sequence }) =>
        keys.bucket(
          Math.floor(sequence / 16)
            .toString(16)
            .padStart(9, '0'),
        ),
      ),
    )
    for (const { sequence } of kept)
      buckets.delete(
        keys.bucket(
          Math.floor(sequence / 16)
            .toString(16)
            .padStart(9, '0'),
        ),
      )
    await redis.del(...buckets)
    now += 10_000
    const left = 100 + (5_000 - 16 * buckets.size)
    expect(await runs().tend(lane, options)).toMatchObject({ lookedAt: left })
    const { from } = JSON.parse((await redis.hget(keys.reconciliation, 'next'))!)
    expect(from).toBe(Math.floor((kept[0]!.sequence - (5_000 - 16 * buckets.size)) / 16))
    await campaigns.act(draft, 'start')
    await feed(tools, draft, 20)
    now += HOUR_MS
    expect(await runs().tend(lane, options)).toMatchObject({ lookedAt: left + 20 })
  })
})
