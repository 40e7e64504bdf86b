/** A worker that no longer works, although it could, says so and makes room for one that does. */
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import type { StartedProcess } from '../scripts/processes.ts'
import { endings } from './endings.ts'
import { type TestRedis, useRedis } from './redis.ts'
import { allAccounts, replyButtons, type Stack, startStack } from './stack.ts'
import { startSwallowingProxy } from './swallowing-proxy.ts'

const onEnd = endings()
let redis: TestRedis
let stack: Stack
const [kaleyra, gupshup] = allAccounts()
const STALL_SECONDS = 2

beforeAll(async () => {
  redis = await useRedis(onEnd)
  stack = await startStack({
    onEnd,
    redisUrl: redis.url,
    accounts: [
      kaleyra!,
      { ...gupshup, id: 'paused' },
      { ...gupshup, id: 'slow', rateLimit: { perSecond: 0.1 } },
      { ...gupshup, id: 'shut', appId: 'shut', breaker: { probeDelaysMs: [3_600_000] } },
    ],
    env: { LOG_LEVEL: 'info', WORKER_STALL_SECONDS: String(STALL_SECONDS) },
  })
  await stack.startApi()
})

const message = (account: string) => ({ account, to: '919876543210', message: replyButtons() })
async function ask(worker: StartedProcess, path: string) {
  const [, port] = await worker.outputMatch(/"port":(\d+)/)
  const answer = await fetch(`http://127.0.0.1:${port}${path}`)
  return { status: answer.status, text: await answer.text() }
}

test('lanes that have to wait are no reason', async () => {
  const worker = await stack.startWorker()
  await stack.call('POST', '/v1/accounts/paused/pause')
  await stack.faults({ account: 'shut', effect: { kind: 'error', name: '401' } })
  for (const account of ['paused', 'slow', 'shut']) await stack.sendAll(Array(5).fill(message(account)))
  const end = performance.now() + 4 * STALL_SECONDS * 1_000
  while (performance.now() < end) {
    expect(await ask(worker, '/health/ready')).toMatchObject({ status: 200 })
    await sleep(100)
  }
  expect((await worker.stop()).code).toBe(0)
}, 60_000)

test('a lane whose connection carries nothing any more makes the worker unready, then ends it in good order', async () => {
  const proxy = await startSwallowingProxy(redis.url, onEnd)
  const worker = stack.dies(await stack.startWorker(undefined, { REDIS_URL: proxy.url }))
  await stack.until(await stack.send(message('kaleyra-in')), ['submitted'])
  expect(await ask(worker, '/health/ready')).toMatchObject({ status: 200 })

  // What the provider accepts now is written down all the same.
  await stack.faults({ latency: { fixedMs: 700 } })
  const inFlight = await stack.send(message('kaleyra-in'))
  await expect.poll(async () => (await stack.read(inFlight)).state).toBe('sending')
  proxy.swallow(':marker')
  const sent = await stack.sendAll(Array(3).fill(message('kaleyra-in')))
  const swallowedAt = performance.now()
  await stack.faults()
  await expect.poll(async () => (await ask(worker, '/health/ready')).status, { timeout: 20_000 }).toBe(503)
  expect(performance.now() - swallowedAt).toBeGreaterThan(STALL_SECONDS * 1_000)
  await expect
    .poll(async () => JSON.parse((await ask(worker, '/health/ready')).text))
    .toMatchObject({
      status: 'not ready',
      redis: 'ready',
      reasons: expect.arrayContaining([
        expect.stringMatching(/kaleyra-in has work.*taken none of it for 2 s/),
      ]),
    })
  expect((await ask(worker, '/health/live')).status).toBe(200)
  expect((await ask(worker, '/metrics')).text).toMatch(
    /^wa_dispatch_worker_lane_stalled\{account="kaleyra-in"\} 1$/m,
  )

  expect(await worker.exited).toEqual({ code: 1, signal: null })
  expect(await stack.read(inFlight)).toMatchObject({
    state: 'submitted',
    attempts: [{ outcome: 'accepted' }],
  })
  expect(worker.output()).toMatch(/kaleyra-in has work.*started anew/)
  expect(worker.output()).toContain('worker.closed')
  expect(await stack.read(sent[0]!)).toMatchObject({ state: 'queued', attempts: [] })
  await stack.startWorker()
  for (const { attempts } of await stack.untilAll(sent, ['submitted'])) expect(attempts).toHaveLength(1)
}, 90_000)
