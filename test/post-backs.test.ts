/** Callers are told what became of their messages: the ledger on a real Redis, real receivers, the worker's loop. */
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  connectRedis,
  createDeliverer,
  createSigner,
  Ledger,
  type LedgerReceipt,
  type MessageId,
  parseAllowList,
  ReceiverGuard,
  receiverOf,
  type Signer,
} from '@wa-dispatch/dispatch'
import { type Received, startHttp } from '@wa-dispatch/providers/testing'
import type { Redis } from 'ioredis'
import { pino } from 'pino'
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { PostBacks } from '../apps/worker/src/post-backs.ts'
import { endings } from './endings.ts'
import { type TestRedis, useRedis } from './redis.ts'

const onEnd = endings()
const account = 'kaleyra-in'
const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const log = pino({ level: 'silent' })
let server: TestRedis
let redis: Redis
let ledger: Ledger

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

beforeAll(async () => {
  server = await useRedis(onEnd)
  redis = connectRedis(server.url, 'worker', log)
  onEnd(async () => redis.disconnect())
})

beforeEach(async () => {
  await redis.flushall()
  ledger = new Ledger({ redis, retentionDays: 7 })
  await ledger.open([account])
})

/** A message that was submitted, delivered and read: three events. */
async function told(urls: string[]): Promise<MessageId[]> {
  const ids = await ledger.createIds(account, urls.length)
  await ledger.accept(
    account,
    ids.map((id, index) => ({
      id,
      to: '919876543210',
      content: '{"message":{}}',
      idempotent: false,
      callback: { receiver: receiverOf(urls[index]!), url: urls[index]!, data: `row ${index}` },
    })),
  )
  for (const id of ids) {
    await ledger.claim(id, 0, 60_000, 'token')
    await ledger.settle(id, {
      attempt: 1,
      outcome: 'accepted',
      code: 'WA202',
      durationMs: 84,
      state: 'submitted',
      counts: true,
      requestId: `request-${id.sequence}`,
    })
  }
  const receipts = ids.flatMap((messageId): LedgerReceipt[] => [
    { messageId, status: 'delivered', state: 'delivered', at: Date.now() },
    { messageId, status: 'read', state: 'read', at: Date.now() },
  ])
  await ledger.applyReceipts(account, receipts)
  return ids
}

function run() {
  const deliverer = createDeliverer({
    guard: new ReceiverGuard(parseAllowList('127.0.0.1').list),
    signer: createSigner(secret) as Signer,
  })
  const postBacks = new PostBacks({
    accounts: [account],
    outbox: ledger,
    deliverer,
    urlOf: async () => undefined,
    metrics: { postBackAttempted: () => undefined, postBackDead: () => undefined },
    log,
  })
  const stop = () => {
    // What hangs would be waited for.
    deliverer.close()
    return postBacks.close()
  }
  closers.push(stop)
  postBacks.start()
  return stop
}

async function receiver(answer: (response: ServerResponse, received: Received, time: number) => void) {
  let time = 0
  const started = await startHttp((received, response) => answer(response, received, ++time))
  closers.push(() => started.close())
  return started
}
const ok = (response: ServerResponse) => response.writeHead(204).end()

const until = async (holds: () => boolean | Promise<boolean>) => {
  while (!(await holds())) await sleep(20)
}
const statuses = async (id: MessageId) => (await ledger.read(id))!.postBacks.map(({ status }) => status)

/** What came, by message: the types in order of arrival, repetitions of one event once. */
function heard(received: Received[]): Map<string, string[]> {
  const seen = new Set<string>()
  const heardOf = new Map<string, string[]>()
  for (const { body, headers } of received) {
    const { type, data } = new Webhook(secret).verify(body, headers as Record<string, string>) as any
    const event = String(headers['webhook-id'])
    if (seen.has(event)) continue
    seen.add(event)
    heardOf.set(data.id, [...(heardOf.get(data.id) ?? []), type])
  }
  return heardOf
}
const inOrder = ['message.submitted', 'message.delivered', 'message.read']

test('a caller hears of each state once, in order, signed, with what he gave along', async () => {
  const caller = await receiver(ok)
  const ids = await told(Array.from({ length: 40 }, () => `${caller.url}/hook`))
  run()
  await until(() => caller.received.length === 120)
  const heardOf = heard(caller.received)
  for (const [index, id] of ids.entries()) {
    expect(heardOf.get(id.text)).toEqual(inOrder)
    const bodies = caller.received
      .map(({ body }) => JSON.parse(body))
      .filter(({ data }) => data.id === id.text)
    expect(bodies[0].data).toEqual({
      id: id.text,
      request_id: `request-${id.sequence}`,
      account,
      to: '919876543210',
      state: 'submitted',
      error: null,
      post_back_data: `row ${index}`,
    })
  }
})

test('every call can be seen on the message; what is given up is listed and sent again by hand', async () => {
  const caller = await receiver((response, _, time) => {
    if (time <= 1) response.writeHead(410).end()
    else ok(response)
  })
  const [id] = await told([caller.url])
  run()
  await until(async () => (await statuses(id!)).join() === 'dead,delivered,delivered')
  const [given] = await ledger.deadPostBacks(account, 10)
  expect(given).toMatchObject({ id: { text: id!.text }, event: 1 })
  expect((await ledger.read(id!))!.postBacks[0]).toMatchObject({
    state: 'submitted',
    attempts: [{ code: '410', durationMs: expect.any(Number), at: expect.any(Number) }],
  })

  expect(await ledger.resendPostBack(id!, 1)).toBe(true)
  await until(async () => (await statuses(id!))[0] === 'delivered')
  expect((await ledger.read(id!))!.postBacks[0]!.attempts.map(({ code }) => code)).toEqual(['410', '204'])
  expect(await ledger.deadPostBacks(account, 10)).toEqual([])
  const [first, , , again] = caller.received.map(({ headers }) => headers['webhook-id'])
  expect(again).toBe(first)
})

test('a thousand receivers that are well wait no longer beside one that hangs with a thousand messages', async () => {
  const hanging = await receiver(() => undefined)
  const well = await receiver(ok)
  const wellOnes = () => told(Array.from({ length: 1_000 }, (_, n) => `http://r${n}.localhost:${well.port}/`))
  const tell = async () => {
    const startedAt = performance.now()
    const stop = run()
    await until(() => well.received.length === 3_000)
    const tookMs = performance.now() - startedAt
    // Ten calls of the one that hangs are under way and none has ended: whoever waited for one would wait still.
    for (const id of hung) expect((await ledger.read(id))!.postBacks[0]!.attempts).toEqual([])
    await stop()
    well.received.length = 0
    return tookMs
  }
  let hung: MessageId[] = []
  await wellOnes()
  const aloneMs = await tell()

  hung = await told(Array.from({ length: 1_000 }, (_, n) => `${hanging.url}/${n}`))
  await wellOnes()
  const besideMs = await tell()
  expect(hanging.received).toHaveLength(10)
  expect(besideMs).toBeLessThan(aloneMs * 2 + 2_000)
}, 120_000)

test('a Redis that is killed in the middle loses no event and mixes none up', async () => {
  const caller = await receiver(ok)
  const ids = await told(Array.from({ length: 300 }, () => caller.url))
  run()
  await until(() => caller.received.length > 100)
  await server.kill()
  await sleep(500)
  await server.start()
  await until(async () => {
    const all = await Promise.all(ids.map(statuses))
    return all.flat().every((status) => status === 'delivered')
  })
  const heardOf = heard(caller.received)
  for (const id of ids) expect(heardOf.get(id.text)).toEqual(inOrder)
}, 120_000)

test('what a worker took that died is taken by another', async () => {
  const caller = await receiver(ok)
  const [id] = await told([caller.url])
  expect(await ledger.takePostBacks(account, 10, new Map(), 10, 1_500)).toHaveLength(1)
  run()
  await sleep(500)
  expect(caller.received).toEqual([])
  await until(() => caller.received.length === 3)
  expect(heard(caller.received).get(id!.text)).toEqual(inOrder)
})
