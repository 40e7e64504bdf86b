/**
 * Whatever dies, whenever: every message is accounted for, and nobody gets twice what must not come twice.
 * Each case has a Redis and processes of its own, 200 messages in flight: reactions, which may be sent twice, and
 * reply buttons, which may not.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { MessageView } from '@wa-dispatch/dispatch'
import { describe, expect, type TestContext, test } from 'vitest'
import { type TestRedis, useRedis } from './redis.ts'
import { allAccounts, reaction, replyButtons, type Stack, startStack } from './stack.ts'

const COUNT = 200
const END = ['submitted', 'uncertain', 'failed']
/** A lost job is found when its lock has run out. */
const PATIENCE_MS = 90_000
/** Where nothing may be uncertain but what was killed: a busy machine answers two hundred at once late. */
const PATIENT = { timeoutMs: 3_000 }

const messages = Array.from({ length: COUNT }, (_, index) => ({
  account: 'kaleyra-in',
  to: String(919_876_500_000 + index),
  message: index % 2 ? replyButtons(`appointment ${index}`) : reaction(),
}))

async function house(
  context: TestContext,
  account: Record<string, unknown> = {},
): Promise<{ stack: Stack; redis: TestRedis }> {
  const onEnd = (end: () => Promise<void>) => context.onTestFinished(end)
  const redis = await useRedis(onEnd)
  const stack = await startStack({
    redisUrl: redis.url,
    accounts: allAccounts(account).slice(0, 1),
    env: { WORKER_CONCURRENCY: '200', LOG_LEVEL: 'warn' },
    onEnd,
  })
  return { stack, redis }
}

/** What must hold whatever happened. @returns the messages, and how many are uncertain */
async function accounted(stack: Stack, ids: string[]): Promise<{ found: MessageView[]; uncertain: number }> {
  const found = await stack.untilAll(ids, END, PATIENCE_MS)
  const seen = await stack.requests({ accepted: 'true', detail: 'false' })
  const times = new Map<string, number>()
  for (const { reference } of seen) if (reference) times.set(reference, (times.get(reference) ?? 0) + 1)
  for (const message of found) {
    const isReaction = messages[ids.indexOf(message.id)]!.message.type === 'reaction'
    const sent = times.get(message.id) ?? 0
    if (message.state === 'submitted') expect(sent, JSON.stringify(message)).toBeGreaterThanOrEqual(1)
    expect(message.state, JSON.stringify(message)).not.toBe('failed')
    if (!isReaction) expect(sent, `${message.id} came twice`).toBeLessThanOrEqual(1)
    if (isReaction) expect(message.state, JSON.stringify(message)).toBe('submitted')
  }
  return { found, uncertain: found.filter(({ state }) => state === 'uncertain').length }
}

describe.concurrent('a process is killed', { timeout: 120_000 }, () => {
  test('in the API, between accepting and adding the job: everything goes out once', async (context) => {
    const { expect } = context
    const { stack } = await house(context, PATIENT)
    const api = stack.dies(
      await stack.startApi({ module: 'kill-at.ts', env: { KILL_AT: 'accepted', KILL_WITH: String(COUNT) } }),
    )
    const key = { 'idempotency-key': 'campaign-17' }
    // Bulk messages have their jobs added after they are stored. A few scripts store the two hundred; the process ends
    // when all have.
    const bulk = messages.map((message) => ({ ...message, priority: 'bulk' }))
    const lost = stack.call('POST', '/v1/messages/batch', { messages: bulk }, key)
    await expect(lost).rejects.toThrow()
    expect((await api.exited).signal).toBe('SIGKILL')

    await stack.startApi()
    await stack.startWorker()
    await expect
      .poll(async () => (await stack.requests({ detail: 'false' })).length, { timeout: 30_000 })
      .toBe(COUNT)
    // The caller, who got no answer, asks again with the same key, and gets the same messages.
    const again = await stack.call('POST', '/v1/messages/batch', { messages: bulk }, key)
    expect(again.headers.get('idempotency-replayed')).toBe('true')
    const { uncertain } = await accounted(
      stack,
      again.body.results.map(({ id }: { id: string }) => id),
    )
    expect(uncertain).toBe(0)
    expect(await stack.requests({ detail: 'false' })).toHaveLength(COUNT)
  })

  test.for([
    ['before the claim: everything goes out once', 'before-claim', 0],
    ['between claim and write: what may not be repeated is uncertain', 'claimed', COUNT / 2],
    ['between answer and settlement: what may not be repeated is uncertain', 'before-settle', COUNT / 2],
  ] as const)('in the worker, %s', async ([_name, point, expectedUncertain], context) => {
    const { expect } = context
    const { stack } = await house(context, PATIENT)
    await stack.startApi()
    const ids = await stack.sendAll(messages)
    const worker = stack.dies(
      await stack.startWorker({ module: 'kill-at.ts', env: { KILL_AT: point, KILL_WITH: String(COUNT) } }),
    )
    expect((await worker.exited).signal).toBe('SIGKILL')

    await stack.startWorker()
    const { uncertain } = await accounted(stack, ids)
    expect(uncertain).toBe(expectedUncertain)
  })

  test('in the worker, between write and answer: what may not be repeated is uncertain', async (context) => {
    const { expect } = context
    const { stack } = await house(context, { timeoutMs: 5_000 })
    await stack.faults({ latency: { fixedMs: 2_000 } })
    await stack.startApi()
    const ids = await stack.sendAll(messages)
    const worker = await stack.startWorker()
    await expect
      .poll(async () => (await stack.requests({ detail: 'false' })).length, { timeout: 20_000 })
      .toBeGreaterThan(100)
    await stack.kill(worker)
    await stack.faults()

    await stack.startWorker()
    const { uncertain } = await accounted(stack, ids)
    expect(uncertain).toBeGreaterThan(0)
  })
})

describe.concurrent('Redis', { timeout: 120_000 }, () => {
  test('killed in the middle and started again loses nothing that was acknowledged', async (context) => {
    const { expect } = context
    const { stack, redis } = await house(context, { rateLimit: { perSecond: 100 } })
    await stack.startApi()
    const ids = await stack.sendAll(messages)
    await stack.startWorker()
    await expect
      .poll(async () => (await stack.requests({ detail: 'false' })).length, { timeout: 20_000 })
      .toBeGreaterThan(40)
    await redis.kill()
    const refused = await stack.call('POST', '/v1/messages', messages[0])
    expect(refused.status).toBe(503)
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
    await sleep(1_000)
    await redis.start()
    const { uncertain } = await accounted(stack, ids)
    expect(uncertain).toBe(0)
  })

  test('frozen for longer than a lock lasts: nothing is sent twice', async (context) => {
    const { expect } = context
    const { stack, redis } = await house(context, { rateLimit: { perSecond: 100 } })
    await stack.startApi()
    const ids = await stack.sendAll(messages)
    await stack.startWorker()
    await stack.startWorker()
    await expect
      .poll(async () => (await stack.requests({ detail: 'false' })).length, { timeout: 20_000 })
      .toBeGreaterThan(40)
    await redis.freeze()
    await sleep(12_000)
    await redis.thaw()
    await accounted(stack, ids)
  })
})

describe.concurrent('a worker', { timeout: 120_000 }, () => {
  test('frozen past its lock does not send what another has taken over', async (context) => {
    const { expect } = context
    const { stack } = await house(context, { rateLimit: { perSecond: 100 } })
    await stack.faults({ latency: { fixedMs: 300 } })
    await stack.startApi()
    const ids = await stack.sendAll(messages)
    const frozen = await stack.startWorker()
    await expect
      .poll(async () => (await stack.requests({ detail: 'false' })).length, { timeout: 20_000 })
      .toBeGreaterThan(40)
    frozen.kill('SIGSTOP')
    await stack.startWorker()
    await sleep(20_000)
    frozen.kill('SIGCONT')
    await accounted(stack, ids)
  })

  test('told to stop lets its attempts end, takes no more, and leaves the rest to the next', async (context) => {
    const { expect } = context
    const { stack } = await house(context, { rateLimit: { perSecond: 50 }, timeoutMs: 5_000 })
    await stack.faults({ latency: { fixedMs: 1_000 } })
    await stack.startApi()
    const ids = await stack.sendAll(messages)
    const worker = await stack.startWorker()
    await expect
      .poll(async () => (await stack.requests({ detail: 'false' })).length, { timeout: 20_000 })
      .toBeGreaterThan(20)
    expect(await worker.stop()).toEqual({ code: 0, signal: null })
    const seen = await stack.requests({ detail: 'false' })
    expect(seen.length).toBeLessThan(COUNT)
    const states = (await Promise.all(ids.map((id) => stack.read(id)))).map(({ state }) => state)
    expect(states.filter((state) => state === 'sending')).toEqual([])
    expect(states.filter((state) => state === 'submitted')).toHaveLength(seen.length)

    await stack.faults()
    await stack.startWorker()
    const { uncertain } = await accounted(stack, ids)
    expect(uncertain).toBe(0)
    expect(await stack.requests({ detail: 'false' })).toHaveLength(COUNT)
  })

  test('told to stop begins no attempt of a lane that was waiting for another', async (context) => {
    const { expect } = context
    const onEnd = (end: () => Promise<void>) => context.onTestFinished(end)
    const stack = await startStack({
      redisUrl: (await useRedis(onEnd)).url,
      accounts: allAccounts({ timeoutMs: 3_000 }).slice(0, 2),
      env: { WORKER_CONCURRENCY: '20', LOG_LEVEL: 'warn' },
      onEnd,
    })
    await stack.faults({ latency: { fixedMs: 1_500 } })
    await stack.startApi()
    const both = messages.flatMap((message) => [message, { ...message, account: 'gupshup-main' }])
    const ids = await stack.sendAll(both)
    const worker = await stack.startWorker()
    const arrived = async () => (await stack.requests({ detail: 'false' })).length
    await expect.poll(arrived, { timeout: 20_000 }).toBeGreaterThanOrEqual(20)
    const toldAt = Date.now()
    expect(await worker.stop()).toEqual({ code: 0, signal: null })
    // Slots became free 1.5 s after they were taken, and nobody took them.
    const later = (await stack.requests({ detail: 'false' })).filter(({ atMs }) => atMs > toldAt + 700)
    expect(later).toEqual([])
    const states = (await Promise.all(ids.map((id) => stack.read(id)))).map(({ state }) => state)
    expect(states).not.toContain('sending')
    expect(states).not.toContain('uncertain')
    expect(states.filter((state) => state === 'submitted')).toHaveLength(await arrived())
  })

  test('told to stop while Redis is away goes in good order, since nothing is in flight', async (context) => {
    const { expect } = context
    const { stack, redis } = await house(context)
    const worker = await stack.startWorker()
    await redis.kill()
    await sleep(4_000)
    expect(await worker.stop()).toEqual({ code: 0, signal: null })
  })

  test('told to stop twice exits at once', async (context) => {
    const { expect } = context
    const { stack } = await house(context, { timeoutMs: 20_000 })
    await stack.faults({ effect: { kind: 'hang' } })
    await stack.startApi()
    await stack.sendAll(messages.slice(0, 10))
    const worker = stack.dies(await stack.startWorker())
    await expect
      .poll(async () => (await stack.requests({ detail: 'false' })).length, { timeout: 20_000 })
      .toBe(10)
    worker.kill('SIGTERM')
    await sleep(500)
    const second = performance.now()
    worker.kill('SIGTERM')
    await worker.exited
    expect(performance.now() - second).toBeLessThan(3_000)
  })
})
