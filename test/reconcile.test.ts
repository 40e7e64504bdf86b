/**
 * What was lost on the way is found, mended, and sent once: by an operator's question about a campaign, and by the run
 * that a worker makes by itself. Real processes, a real Redis, the simulator, which can be asked as Zixflow can.
 */
import {
  type CampaignRecord,
  Campaigns,
  createLane,
  type Lane,
  Ledger,
  parseCampaignId,
} from '@wa-dispatch/dispatch'
import { Redis } from 'ioredis'
import { describe, expect, type TestContext, test } from 'vitest'
import { type Calls, callsOf, recipientsFrom } from './campaign-calls.ts'
import { useRedis } from './redis.ts'
import { allAccounts, replyButtons, type Stack, startStack } from './stack.ts'

const PATIENCE_MS = 60_000
const QUIET = { RECONCILE_EVERY_MINUTES: '0' }
const [kaleyra, , zixflow] = allAccounts({ receiptToken: 'receipts' })

interface House {
  stack: Stack
  calls: Calls
  client: Redis
  ledger: Ledger
  /** As the worker has it. */
  lane: Lane
}

async function house(context: TestContext, account: Record<string, unknown>): Promise<House> {
  const onEnd = (end: () => Promise<void>) => context.onTestFinished(end)
  const redis = await useRedis(onEnd)
  const stack = await startStack({
    redisUrl: redis.url,
    accounts: [account],
    env: { LOG_LEVEL: 'info', ...QUIET },
    onEnd,
  })
  await stack.startApi()
  const client = new Redis(redis.url)
  onEnd(async () => client.disconnect())
  const ledger = new Ledger({ redis: client, retentionDays: 7 })
  await ledger.open([String(account.id)])
  return {
    stack,
    calls: callsOf(stack),
    client,
    ledger,
    lane: createLane(String(account.id), ledger, client),
  }
}

async function reconcile(stack: Stack, campaign: string, body?: unknown) {
  const answer = await stack.call('POST', `/v1/campaigns/${campaign}/reconcile`, body)
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 })
  return answer.body
}

/** Reconciles until so many are mended: what has only just happened is left alone. */
async function mended(stack: Stack, campaign: string, wanted: number) {
  const found = { without_job: 0, lost_claims: 0 }
  await expect
    .poll(
      async () => {
        const { without_job, lost_claims } = await reconcile(stack, campaign)
        found.without_job += without_job.count
        found.lost_claims += lost_claims.count
        return found.without_job + found.lost_claims
      },
      { timeout: PATIENCE_MS, interval: 500 },
    )
    .toBe(wanted)
  return found
}

const recordOf = async ({ client, ledger }: House, campaign: string): Promise<CampaignRecord> =>
  (await new Campaigns({ redis: client, ledger, retentionDays: 7 }).read(parseCampaignId(campaign)!))!

/** How often the provider took a message for each recipient: no test has two for one. */
async function timesSent(stack: Stack): Promise<Map<string, number>> {
  const times = new Map<string, number>()
  for (const { recipient } of await stack.requests({ accepted: 'true', detail: 'false' }))
    times.set(recipient, (times.get(recipient) ?? 0) + 1)
  return times
}

/** When the provider was asked for delivery reports. */
const questionsAt = async (stack: Stack): Promise<number[]> =>
  (await stack.requests())
    .filter(({ path }) => path?.startsWith('/api/data/messages/v1/delivery-report'))
    .map(({ atMs }) => atMs)

describe('a campaign is reconciled', { timeout: 120_000 }, () => {
  test('jobs that were taken off the lane are put back, and every row is sent once', async (context) => {
    const its = await house(context, kaleyra!)
    const { stack, calls, lane } = its
    await stack.call('POST', '/v1/accounts/kaleyra-in/pause')
    const feeder = await stack.startWorker()
    const id = await calls.run({ account: 'kaleyra-in' }, recipientsFrom(919_876_500_000, 120))
    await expect.poll(async () => (await recordOf(its, id)).fed, { timeout: PATIENCE_MS }).toBe(120)
    await expect.poll(() => lane.getJobCountByTypes('prioritized', 'wait')).toBe(120)
    await stack.kill(feeder)
    const jobs = await lane.getJobs(['prioritized', 'wait'], 0, 49)
    for (const job of jobs) await job.remove()

    expect(await mended(stack, id, 50)).toEqual({ without_job: 50, lost_claims: 0 })
    const report = await reconcile(stack, id)
    expect(report).toMatchObject({
      looked_at: 120,
      found: { queued: 120 },
      counts: { queued: 120 },
      counts_agree: true,
      unheard: { count: 0, ids: [] },
      without_job: { count: 0 },
      mended: 0,
    })
    expect(await stack.requests({ detail: 'false' })).toHaveLength(0)

    await stack.startWorker()
    await stack.call('POST', '/v1/accounts/kaleyra-in/resume')
    await calls.untilFinished(id, PATIENCE_MS)
    const times = await timesSent(stack)
    expect(times.size).toBe(120)
    expect(new Set(times.values())).toEqual(new Set([1]))
  })

  test('claims of a killed worker are given up, and nothing is sent twice, also beside workers', async (context) => {
    const { stack, calls } = await house(context, kaleyra!)
    const recipients = recipientsFrom(919_876_500_000, 40)
    const worker = stack.dies(
      await stack.startWorker({ module: 'kill-at.ts', env: { KILL_AT: 'claimed', KILL_WITH: '40' } }),
    )
    const id = await calls.run({ account: 'kaleyra-in' }, recipients)
    expect((await worker.exited).signal).toBe('SIGKILL')
    const early = await reconcile(stack, id)
    expect(early.found.sending).toBe(40)

    expect(await mended(stack, id, 40)).toEqual({ without_job: 0, lost_claims: 40 })
    expect(await reconcile(stack, id)).toMatchObject({
      counts: { uncertain: 40 },
      counts_agree: true,
      lost_claims: { count: 0 },
      mended: 0,
    })
    await stack.startWorker()
    const listed = await reconcile(stack, id)
    expect(listed.uncertain.count).toBe(40)
    for (const { id: message } of listed.uncertain.items)
      await stack.call('POST', `/v1/messages/${message}/resolve`, { as: 'resend' })
    const during = Array.from({ length: 5 }, () => reconcile(stack, id))
    await calls.untilFinished(id, PATIENCE_MS)
    for (const report of await Promise.all(during)) expect(report.looked_at).toBe(40)
    const times = await timesSent(stack)
    expect(times.size).toBe(40)
    expect(new Set(times.values())).toEqual(new Set([1]))
  })

  test('a provider that can be asked is asked, within its limit, and knows what it did not tell', async (context) => {
    const account = { ...zixflow, rateLimit: { perSecond: 10 }, receiptUrl: undefined }
    const { stack, calls } = await house(context, account)
    const silent = { status: 'delivered', silent: true }
    await stack.control('PUT', 'receipt-rules', { rules: [{ statuses: [silent] }] })
    await stack.startWorker()
    const id = await calls.run({ account: 'zixflow-ai' }, recipientsFrom(919_876_500_000, 25))
    await calls.untilFinished(id, PATIENCE_MS)
    expect(await reconcile(stack, id)).toMatchObject({ receipts: 'posted', unheard: { count: 0 }, asked: 0 })
    await stack.control('PUT', 'accounts/zixflow/zp', {
      rateLimit: { perSecond: 4, retryAfter: 1 },
    })

    const report = await reconcile(stack, id, { after_hours: 0 })
    expect(report).toMatchObject({ after_hours: 0, unheard: { count: 25 }, asked: 25 })
    expect(report.unheard.ids).toHaveLength(25)
    await reconcile(stack, id, { after_hours: 0 })
    await calls.until(id, 'delivered', ({ counts }) => counts.delivered === 25, PATIENCE_MS)
    const asked = await questionsAt(stack)
    // Nobody asks twice what was told; what came too fast was asked again, slower.
    const { body: accounts } = await stack.call('GET', '/v1/accounts')
    const tooFast = (await stack.requests({ code: '429' })).length
    expect(asked.length).toBe(25 + tooFast)
    expect(tooFast).toBeGreaterThan(0)
    expect(accounts.items[0].allowed_per_second).toBeLessThan(10)
    for (const [index, at] of asked.entries())
      expect((asked[index + 11] ?? Infinity) - at, 'more than ten in a second').toBeGreaterThan(1_000)
    expect(await reconcile(stack, id, { after_hours: 0 })).toMatchObject({ unheard: { count: 0 }, asked: 0 })
    const times = await timesSent(stack)
    expect(times.size).toBe(25)
    expect(new Set(times.values())).toEqual(new Set([1]))
  })

  test('an open breaker keeps questions back', async (context) => {
    const { stack, calls } = await house(context, { ...zixflow, breaker: { probeDelaysMs: [3_600_000] } })
    await stack.control('PUT', 'receipt-rules', { rules: [{ statuses: [{ status: 'read', silent: true }] }] })
    await stack.startWorker()
    const id = await calls.run({ account: 'zixflow-ai' }, recipientsFrom(919_876_500_000, 3))
    await calls.untilFinished(id, PATIENCE_MS)
    await stack.faults({ effect: { kind: 'error', name: '401' } })
    const refused = { account: 'zixflow-ai', to: '919876599999', message: replyButtons() }
    await stack.until(await stack.send(refused), ['failed'])
    expect(await reconcile(stack, id, { after_hours: 0 })).toMatchObject({ asked: 3 })
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    expect(await questionsAt(stack)).toEqual([])
    await stack.call('POST', '/v1/accounts/zixflow-ai/resume')
    await calls.until(id, 'read', ({ counts }) => counts.read === 3, PATIENCE_MS)
  })

  test('refuses what it does not know', async (context) => {
    const { stack, calls } = await house(context, kaleyra!)
    const id = await calls.create({ account: 'kaleyra-in' })
    expect(await reconcile(stack, id)).toMatchObject({ looked_at: 0, found: {}, counts: {}, after_hours: 24 })
    const path = `/v1/campaigns/${id}/reconcile`
    for (const body of [{ hours: 1 }, { after_hours: -1 }, { after_hours: '1' }, { after_hours: 9_000 }])
      expect(await stack.call('POST', path, body)).toMatchObject({ status: 400 })
    const unknown = await stack.call('POST', '/v1/campaigns/cmp_0001000000010a5f3c9d/reconcile')
    expect(unknown.status).toBe(404)
  })
})

test('a worker looks through all messages by itself, tells what it found, and asks', {
  timeout: 120_000,
}, async (context) => {
  const { stack } = await house(context, zixflow!)
  await stack.control('PUT', 'receipt-rules', {
    rules: [{ recipientPrefix: '9198', statuses: [{ status: 'read', silent: true }] }],
  })
  const quiet = await stack.startWorker()
  const messages = Array.from({ length: 60 }, (_, index) => ({
    account: 'zixflow-ai',
    to: `91${index < 40 ? '98' : '97'}${String(index).padStart(8, '0')}`,
    message: replyButtons(`appointment ${index}`),
  }))
  const ids = await stack.sendAll(messages)
  await stack.untilAll(ids, ['submitted'])
  const before = await stack.call('GET', '/v1/accounts')
  expect(before.body.items[0].reconciliation).toBeUndefined()
  await quiet.stop()

  const often = { RECONCILE_EVERY_MINUTES: '60', RECONCILE_AFTER_HOURS: '0' }
  await stack.startWorker(undefined, often)
  const other = await stack.startWorker(undefined, often)
  await stack.untilAll(ids.slice(0, 40), ['read'])
  const { body } = await stack.call('GET', '/v1/accounts')
  expect(body.items[0].reconciliation).toMatchObject({
    looked_at: 60,
    unheard: 60,
    uncertain: 0,
    mended: 0,
    asked: 60,
  })
  const metrics = async () => {
    const answer = await fetch(`${stack.apiUrl}/metrics`, {
      headers: { authorization: `Bearer ${stack.key}` },
    })
    return answer.text()
  }
  // Those of whom the provider knows nothing are asked about again, much later.
  await expect
    .poll(metrics, { timeout: PATIENCE_MS })
    .toContain('wa_dispatch_questions_waiting{account="zixflow-ai"} 20')
  await expect.poll(async () => (await questionsAt(stack)).length, { timeout: PATIENCE_MS }).toBe(60)
  const text = await metrics()
  expect(text).toContain('wa_dispatch_unheard{account="zixflow-ai"} 60')
  expect(text).toMatch(/wa_dispatch_reconciled_timestamp_seconds\{account="zixflow-ai"\} \d{10}/)
  for (const { state } of await stack.untilAll(ids.slice(40), ['submitted'])) expect(state).toBe('submitted')
  await stack.kill(other)
})
