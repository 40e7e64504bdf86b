/** Lanes that stop when sending is pointless, say so, and start again by themselves. */
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { StartedProcess } from '../scripts/processes.ts'
import { endings } from './endings.ts'
import { type TestRedis, useRedis } from './redis.ts'
import { allAccounts, replyButtons, type Stack, startStack } from './stack.ts'

const onEnd = endings()
let redis: TestRedis
let stack: Stack
const [kaleyra, gupshup, zixflow] = allAccounts()
const CONCURRENCY = 25
const WORKERS = 2
/** Waited for a probe: the attempt's own time-out and a second. */
const TIMEOUT_MS = 1_000
const LEASE_MS = TIMEOUT_MS + 1_000
const WALLETS = ['9190000000001', '9190000000002']
const credentials = { sid: kaleyra!.sid, apiKey: kaleyra!.apiKey }

const ids = ['wallet', 'key', 'probes', 'stale', 'slow-probe', 'lossy', 'by-hand', 'lease']
const workers: StartedProcess[] = []
const startWorkers = async () => {
  for (let count = 0; count < WORKERS; count++) workers.push(await stack.startWorker())
}

beforeAll(async () => {
  redis = await useRedis(onEnd)
  const breaker = { probeDelaysMs: [1_000, 2_000, 3_000] }
  const limited = { rateLimit: { perSecond: 500 }, timeoutMs: TIMEOUT_MS, breaker }
  stack = await startStack({
    onEnd,
    redisUrl: redis.url,
    accounts: [
      { ...kaleyra, ...limited, id: 'wallet', sender: WALLETS[0] },
      { ...kaleyra, ...limited, id: 'key', sender: WALLETS[1] },
      { ...gupshup, ...limited, id: 'probes', appId: 'probes' },
      // Who waits for the end of a probe's time instead of the next one waits for long.
      { ...gupshup, ...limited, id: 'stale', appId: 'stale', timeoutMs: 20_000 },
      { ...gupshup, ...limited, id: 'slow-probe', appId: 'slow-probe', timeoutMs: 5_000 },
      {
        ...zixflow,
        ...limited,
        id: 'lossy',
        retry: { unavailable: { delaysMs: [1_000, 2_000, 4_000, 8_000] } },
      },
      { ...gupshup, ...limited, id: 'by-hand', appId: 'by-hand', breaker: { probeDelaysMs: [3_600_000] } },
      { ...gupshup, ...limited, id: 'lease', appId: 'lease' },
    ],
    env: { LOG_LEVEL: 'info', WORKER_CONCURRENCY: String(CONCURRENCY) },
  })
  for (const account of WALLETS) await stack.control('PUT', `accounts/kaleyra/${account}`, { credentials })
  await stack.startApi()
  await startWorkers()
}, 60_000)

afterEach(async () => {
  await stack.faults()
})

let recipients = 0
const nextRecipient = () => String(919_700_000_000 + recipients++)
const message = (account: string, more: Record<string, unknown> = {}) => ({
  account,
  to: nextRecipient(),
  message: replyButtons(),
  ...more,
})
const messages = (account: string, count: number) => Array.from({ length: count }, () => message(account))
const act = (account: string, action: 'pause' | 'resume') =>
  stack.call('POST', `/v1/accounts/${account}/${action}`)
async function view(account: string) {
  const { body } = await stack.call('GET', '/v1/accounts')
  return body.items.find(({ id }: { id: string }) => id === account)
}
const untilBreaker = (account: string, state: string, timeout = 15_000) =>
  expect.poll(async () => (await view(account)).breaker.state, { timeout, interval: 50 }).toBe(state)
async function metric(line: string): Promise<string> {
  const response = await fetch(`${stack.apiUrl}/metrics`, {
    headers: { authorization: `Bearer ${stack.key}` },
  })
  return (await response.text()).split('\n').find((each) => each.startsWith(line)) ?? ''
}
const requests = (account: string, more: Record<string, string> = {}) =>
  stack.requests({ account, detail: 'false', ...more })
/** Every message of the account meets the error until the faults are taken away. */
const refuseAll = (account: string, name: string) =>
  stack.faults({ account, effect: { kind: 'error', name } })

async function startCampaign(account: string, count: number): Promise<string> {
  const created = await stack.call('POST', '/v1/campaigns', {
    name: account,
    account,
    message: replyButtons(),
  })
  expect(created.status, JSON.stringify(created.body)).toBe(201)
  const { id } = created.body
  const lines = Array.from({ length: count }, () => JSON.stringify({ to: nextRecipient() })).join('\n')
  const upload = await fetch(`${stack.apiUrl}/v1/campaigns/${id}/recipients`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.key}`, 'content-type': 'application/x-ndjson' },
    body: lines,
  })
  expect(await upload.json()).toMatchObject({ accepted: count })
  expect((await stack.call('POST', `/v1/campaigns/${id}/start`)).status).toBe(200)
  return id
}
const countsOf = async (campaign: string) =>
  (await stack.call('GET', `/v1/campaigns/${campaign}`)).body.counts
async function untilCounts(campaign: string, counts: Record<string, number>, timeout = 60_000) {
  const found = async () =>
    Object.fromEntries(Object.entries(await countsOf(campaign)).filter(([, count]) => count !== 0))
  await expect.poll(found, { timeout, interval: 250 }).toEqual(counts)
}
const eachOnce = async (account: string, count: number) => {
  const taken = await requests(account, { accepted: 'true' })
  expect(taken).toHaveLength(count)
  expect(new Set(taken.map(({ recipient }) => recipient)).size).toBe(count)
}

describe('in the middle of a campaign of ten thousand', () => {
  const COUNT = 10_000

  test('an empty wallet fails those that met it, and after the refill all others go out by themselves', async () => {
    const [sender] = WALLETS
    await stack.control('PATCH', `accounts/kaleyra/${sender}`, { balance: 4_000 })
    const before = Date.now()
    const campaign = await startCampaign('wallet', COUNT)
    await untilBreaker('wallet', 'open', 60_000)
    await sleep(2_500)
    const { breaker, depth } = await view('wallet')
    expect(breaker).toMatchObject({ reason: { code: 'E110', kind: 'balance' } })
    expect(['open', 'half-open']).toContain(breaker.state)
    expect(Date.parse(breaker.since)).toBeGreaterThan(before)
    expect(Date.parse(breaker.since)).toBeLessThan(Date.now() - 2_000)
    expect(await metric('wa_dispatch_breaker_open{account="wallet"}')).toMatch(/ 1$/)
    expect(depth.waiting).toBeGreaterThan(0)
    const stopped = await countsOf(campaign)
    expect(stopped.submitted).toBe(4_000)
    expect(stopped.failed).toBeLessThan(WORKERS * CONCURRENCY + 1)
    console.info('failed with E110:', stopped.failed, 'of', WORKERS * CONCURRENCY, 'in flight at most')

    await stack.control('POST', `accounts/kaleyra/${sender}/refill`, { amount: 20_000 })
    await untilBreaker('wallet', 'closed')
    const { failed } = await countsOf(campaign)
    await untilCounts(campaign, { submitted: COUNT - failed, failed })
    expect(await metric('wa_dispatch_breaker_open{account="wallet"}')).toMatch(/ 0$/)
    const refused = await requests(sender!, { code: 'E110' })
    expect(refused).toHaveLength(failed)
    const retried = await stack.call('POST', `/v1/campaigns/${campaign}/retry`, { codes: ['E110'] })
    expect(retried.status, JSON.stringify(retried.body)).toBe(200)
    await untilCounts(campaign, { submitted: COUNT })
    await eachOnce(sender!, COUNT)
  }, 180_000)

  test('a revoked key stops the lane, also across a restart, until there is a new one and a person resumes', async () => {
    const sender = WALLETS[1]!
    const campaign = await startCampaign('key', COUNT)
    await expect
      .poll(async () => (await countsOf(campaign)).submitted ?? 0, { timeout: 60_000 })
      .toBeGreaterThan(2_000)
    await stack.control('POST', `accounts/kaleyra/${sender}/revoke`)
    await untilBreaker('key', 'open', 60_000)
    const { reason } = (await view('key')).breaker
    expect(reason.kind).toBe('credentials')
    await sleep(500)
    const { failed } = await countsOf(campaign)
    expect(failed).toBeLessThan(WORKERS * CONCURRENCY + 1)

    for (const worker of workers.splice(0)) await worker.stop()
    const file = JSON.parse(readFileSync(stack.accountsFile, 'utf8'))
    file.accounts.find(({ id }: { id: string }) => id === 'key').apiKey = 'Akey-new'
    writeFileSync(stack.accountsFile, JSON.stringify(file))
    await stack.control('PUT', `accounts/kaleyra/${sender}`, {
      credentials: { ...credentials, apiKey: 'Akey-new' },
    })
    expect((await view('key')).breaker).toMatchObject({ state: expect.stringMatching(/open/), reason })
    await startWorkers()
    expect(await act('key', 'resume')).toMatchObject({ status: 200, body: { breaker: { state: 'closed' } } })
    await expect.poll(async () => (await countsOf(campaign)).queued ?? 0, { timeout: 60_000 }).toBe(0)
    expect((await stack.call('POST', `/v1/campaigns/${campaign}/retry`)).status).toBe(200)
    await untilCounts(campaign, { submitted: COUNT })
    await eachOnce(sender, COUNT)
  }, 180_000)
})

describe('while a breaker is open', () => {
  test('one message at a time probes, at growing intervals, and the others stay untouched', async () => {
    await refuseAll('probes', '401')
    const sent = await stack.sendAll(messages('probes', 300))
    await expect.poll(async () => (await requests('probes')).length, { timeout: 20_000 }).toBeGreaterThan(0)
    await untilBreaker('probes', 'open')
    await sleep(300)
    const met = (await requests('probes')).length
    await expect
      .poll(async () => (await requests('probes')).length, { timeout: 20_000, interval: 50 })
      .toBe(met + 3)
    const times = (await requests('probes')).map(({ atMs }) => atMs)
    const gaps = times.slice(met).map((at, index) => at - times[met - 1 + index]!)
    for (const [index, delayMs] of [1_000, 2_000, 3_000].entries()) {
      expect(gaps[index]).toBeGreaterThanOrEqual(delayMs * 0.95)
      expect(gaps[index]).toBeLessThan(delayMs + 2_000)
    }
    // What the probes meet beside it does not hide why it is open.
    await refuseAll('probes', '500')
    const { reason } = (await view('probes')).breaker
    await expect.poll(async () => (await requests('probes')).length, { timeout: 20_000 }).toBe(met + 4)
    await expect.poll(async () => (await view('probes')).breaker).toMatchObject({ state: 'open', reason })
    await stack.faults()
    await untilBreaker('probes', 'closed')
    const done = await stack.untilAll(sent, ['submitted', 'failed'])
    expect(done.filter(({ state }) => state === 'failed')).toHaveLength(met + 3)
    // The probe that met a 500 was tried again, as any message is.
    const again = done.filter(({ state, attempts }) => state === 'submitted' && attempts.length !== 1)
    expect(again).toHaveLength(1)
  }, 60_000)

  test('a message that is not to be sent any more does not use up the probe', async () => {
    const account = 'stale'
    const finished = await stack.send(message(account))
    await stack.until(finished, ['submitted'])
    await refuseAll(account, '401')
    const refused = await stack.send(message(account))
    await stack.until(refused, ['failed'])
    const connection = new Redis(redis.url, { maxRetriesPerRequest: null })
    const queue = new Queue(account, { connection, prefix: `wa:lane:{${ids.indexOf(account) + 1}}` })
    await queue.add('stale', { message: finished, generation: 0, to: '919876543210' }, { jobId: 'again-1' })
    const opened = performance.now()
    await stack.faults()
    const next = await stack.send(message(account))
    await stack.until(next, ['submitted'], 15_000)
    expect(performance.now() - opened).toBeLessThan(10_000)
    expect((await view(account)).breaker.state).toBe('closed')
    // The ledger knows it before BullMQ does.
    await expect.poll(() => queue.getJobState('again-1'), { timeout: 5_000 }).toBe('completed')
    await queue.close()
    connection.disconnect()
  }, 60_000)

  test('a probe whose worker dies is followed by another', async () => {
    const account = 'lease'
    await refuseAll(account, '401')
    await stack.until(await stack.send(message(account)), ['failed'])
    await stack.faults({ account, times: 1, effect: { kind: 'hang', accepted: false } })
    const sent = await stack.sendAll(messages(account, 3))
    await untilBreaker(account, 'half-open')
    await expect.poll(async () => (await requests(account)).length, { timeout: 5_000, interval: 20 }).toBe(2)
    // Only one of them holds the probe: both go, and others come.
    for (const worker of workers.splice(0)) await stack.kill(worker)
    await startWorkers()
    await untilBreaker(account, 'closed', LEASE_MS + 15_000)
    const done = await stack.untilAll(sent, ['submitted', 'uncertain'], 30_000)
    expect(done.filter(({ state }) => state === 'uncertain')).toHaveLength(1)
  }, 90_000)

  test('a lane that is paused by hand stays paused when the breaker heals', async () => {
    const account = 'slow-probe'
    await refuseAll(account, '401')
    await stack.until(await stack.send(message(account)), ['failed'])
    await stack.faults({ account, latency: { fixedMs: 2_000 } })
    const sent = await stack.sendAll(messages(account, 5))
    await untilBreaker(account, 'half-open')
    expect((await act(account, 'pause')).status).toBe(200)
    await untilBreaker(account, 'closed')
    await stack.faults()
    await sleep(2_000)
    expect(await view(account)).toMatchObject({ paused: true, depth: { waiting: 4 } })
    expect(await metric(`wa_dispatch_lane_paused{account="${account}"}`)).toMatch(/ 1$/)
    expect(await requests(account)).toHaveLength(2)
    await act(account, 'resume')
    await stack.untilAll(sent, ['submitted'])
  }, 60_000)

  test('a person who resumes the lane closes it', async () => {
    const account = 'by-hand'
    await refuseAll(account, 'callback-billing')
    await stack.until(await stack.send(message(account)), ['failed'])
    await untilBreaker(account, 'open')
    await stack.faults()
    const next = await stack.send(message(account))
    await sleep(1_500)
    expect(await stack.read(next)).toMatchObject({ state: 'queued', attempts: [] })
    expect((await view(account)).breaker).toMatchObject({ state: 'open', reason: { kind: 'account' } })
    await act(account, 'resume')
    await stack.until(next, ['submitted'], 5_000)
  }, 60_000)
})

describe('a provider of which nothing useful comes', () => {
  test('is left alone when most attempts come to nothing, and used again when it is back', async () => {
    await stack.faults({ provider: 'zixflow', effect: { kind: 'answer', status: 503, body: '' } })
    const sent = await stack.sendAll(messages('lossy', 300))
    await untilBreaker('lossy', 'open')
    expect((await view('lossy')).breaker.reason).toMatchObject({ code: 'HTTP_503', kind: 'unavailable' })
    await sleep(500) // those under way
    const tried = (await stack.requests({ provider: 'zixflow', detail: 'false' })).length
    await sleep(2_500)
    // Nothing but probes.
    expect((await stack.requests({ provider: 'zixflow', detail: 'false' })).length).toBeLessThanOrEqual(
      tried + 3,
    )
    await stack.faults()
    await untilBreaker('lossy', 'closed')
    await stack.untilAll(sent, ['submitted'])
  }, 90_000)
})
