import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { useRedis } from '../../../test/redis.ts'
import { campaign, message, startApi, type TestApi } from './testing.ts'

const redis = await useRedis(afterAll)
/** A command is given up after 3 s; a request makes two or three of them one after the other. */
const BOUND_MS = 15_000

/** Every route that needs Redis. */
const requests = [
  { method: 'POST', url: '/v1/messages', payload: message() },
  { method: 'POST', url: '/v1/messages', payload: message(), headers: { 'idempotency-key': 'away' } },
  { method: 'POST', url: '/v1/messages/batch', payload: { messages: [message(), message()] } },
  { method: 'GET', url: '/v1/messages?reference=x' },
  { method: 'GET', url: '/v1/messages?request_id=x' },
  { method: 'GET', url: '/v1/messages/msg_00010000000000e0634687' },
  { method: 'POST', url: '/v1/messages/msg_00010000000000e0634687/cancel' },
  { method: 'POST', url: '/v1/messages/msg_00010000000000e0634687/resolve', payload: { as: 'failed' } },
  { method: 'POST', url: '/v1/campaigns', payload: campaign() },
  { method: 'POST', url: '/v1/campaigns', payload: campaign(), headers: { 'idempotency-key': 'made' } },
  {
    method: 'POST',
    url: '/v1/campaigns/cmp_00010000000100000000/recipients',
    payload: 'to,name\n919876543210,Asha\n',
    headers: { 'content-type': 'text/csv' },
  },
  { method: 'POST', url: '/v1/campaigns/cmp_00010000000100000000/start' },
  { method: 'POST', url: '/v1/campaigns/cmp_00010000000100000000/retry' },
  { method: 'GET', url: '/v1/campaigns' },
  { method: 'GET', url: '/v1/campaigns/cmp_00010000000100000000' },
  {
    method: 'POST',
    url: '/v1/receipts/kaleyra-in',
    payload: { status: 'sent' },
    headers: { 'x-receipt-token': 'receipts-k' },
  },
  { method: 'GET', url: '/v1/receipts?unmatched=true' },
  { method: 'GET', url: '/v1/accounts' },
  { method: 'POST', url: '/v1/accounts/kaleyra-in/pause' },
] as const

async function expectAway(api: TestApi): Promise<void> {
  const start = performance.now()
  const answers = await Promise.all(requests.map((request) => api.inject(request)))
  expect(performance.now() - start).toBeLessThan(BOUND_MS)
  for (const [index, answer] of answers.entries()) {
    expect(answer.statusCode, `${requests[index]!.url} ${answer.body}`).toBe(503)
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(answer.body).not.toMatch(/ioredis|ECONN|node_modules|\\n/)
  }
  const live = await api.inject({ url: '/health/live', key: null })
  expect(live.statusCode).toBe(200)
  const ready = await api.inject({ url: '/health/ready', key: null })
  expect(ready.statusCode).toBe(503)
  expect(ready.json()).toMatchObject({ status: 'not ready', redis: 'away' })
  expect((await api.inject({ url: '/metrics' })).body).toContain('wa_dispatch_redis_up 0')
}

async function untilReady(api: TestApi): Promise<void> {
  while ((await api.inject({ url: '/health/ready', key: null })).statusCode !== 200) {
    await new Promise((done) => setTimeout(done, 50))
  }
}

/** Sends until told to stop. @returns the ids that were reported accepted, and how the others were refused */
function sendAllTheTime(api: TestApi, reference: string) {
  const accepted: string[] = []
  const refused: number[] = []
  let running = true
  const senders = Array.from({ length: 8 }, async () => {
    while (running) {
      const answer = await api.inject({
        method: 'POST',
        url: '/v1/messages',
        payload: message({ reference }),
      })
      if (answer.statusCode === 202) accepted.push(answer.json().id)
      else refused.push(answer.statusCode)
      if (answer.statusCode !== 202) await new Promise((done) => setTimeout(done, 50))
    }
  })
  return {
    accepted,
    refused,
    async stop() {
      running = false
      await Promise.all(senders)
    },
  }
}

async function expectStored(api: TestApi, ids: string[]): Promise<void> {
  expect(ids.length).toBeGreaterThan(0)
  for (const id of ids) expect((await api.inject({ url: `/v1/messages/${id}` })).statusCode, id).toBe(200)
}

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms))

describe('with a Redis that is away', () => {
  afterEach(() => redis.thaw().catch(() => undefined))

  it('the API starts all the same, and takes messages as soon as Redis comes', async () => {
    await redis.kill()
    const api = await startApi(redis.url, { ready: false })
    await expectAway(api)
    await redis.start()
    await untilReady(api)
    expect((await api.inject({ method: 'POST', url: '/v1/messages', payload: message() })).statusCode).toBe(
      202,
    )
    expect((await api.inject({ url: '/dashboard/', key: null })).statusCode).toBe(303)
    await api.close()
  })

  it('killed in the middle: 503, and whatever was reported accepted is stored', async () => {
    const api = await startApi(redis.url)
    const load = sendAllTheTime(api, 'killed')
    await pause(500)
    await redis.kill()
    await pause(500)
    await expectAway(api)
    await redis.start()
    await untilReady(api)
    await pause(300)
    await load.stop()
    expect(new Set(load.refused)).toEqual(new Set([503]))
    await expectStored(api, load.accepted)
    await api.close()
  })

  it('frozen in the middle: 503 within a bounded time, and whatever was reported accepted is stored', async () => {
    const api = await startApi(redis.url)
    const load = sendAllTheTime(api, 'frozen')
    await pause(500)
    await redis.freeze()
    await expectAway(api)
    await redis.thaw()
    await untilReady(api)
    await pause(300)
    await load.stop()
    expect(new Set(load.refused)).toEqual(new Set([503]))
    await expectStored(api, load.accepted)
    await api.close()
  }, 60_000)
})

describe('with a Redis that is not fit', () => {
  it('the API is ready and says what is unsafe', async () => {
    const unfit = await useRedis(afterAll, ['--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru'])
    const api = await startApi(unfit.url)
    const ready = (await api.inject({ url: '/health/ready', key: null })).json()
    expect(ready).toMatchObject({ status: 'ready', redis: 'up' })
    expect(ready.unsafe).toEqual([
      expect.stringContaining('maxmemory-policy'),
      expect.stringContaining('appendonly'),
    ])
    expect(api.logged.filter((line) => line.includes('redis.unsafe'))).toHaveLength(2)
    await api.close()
  })
})

describe('with a Redis whose memory is full', () => {
  it('messages are refused with 503', async () => {
    const full = await useRedis(afterAll)
    const api = await startApi(full.url)
    expect((await api.inject({ method: 'POST', url: '/v1/messages', payload: message() })).statusCode).toBe(
      202,
    )
    await api.storage.redis.config('SET', 'maxmemory', '1')
    const answer = await api.inject({ method: 'POST', url: '/v1/messages', payload: message() })
    expect([answer.statusCode, answer.headers['retry-after']]).toEqual([503, '2'])
    await api.close()
  })
})
