import { setTimeout as sleep } from 'node:timers/promises'
import { Ledger, type MessageId, type NewMessage, type Settlement } from '@wa-dispatch/dispatch'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { endings } from './endings.ts'
import { type TestRedis, useRedis } from './redis.ts'

const onEnd = endings()
let server: TestRedis
let redis: Redis
let ledger: Ledger
let now = 1_790_000_000_000
const account = 'kaleyra-in'

beforeAll(async () => {
  server = await useRedis(onEnd)
  redis = new Redis(server.url)
})
afterAll(() => redis?.disconnect())

beforeEach(async () => {
  await redis.flushall()
  now = 1_790_000_000_000
  ledger = new Ledger({ redis, retentionDays: 7, clock: () => now })
  await ledger.open([account, 'gupshup-main'])
})

async function accepted(extra: Partial<NewMessage> = {}): Promise<MessageId> {
  const [id] = await ledger.createIds(account, 1)
  const message = { id: id!, to: '919876543210', content: '{"message":{}}', idempotent: false, ...extra }
  await ledger.accept(account, [message])
  return id!
}

const claimed = async (id: MessageId, generation = 0) => {
  const claim = await ledger.claim(id, generation, 10_000, 'token')
  if (claim.kind !== 'claimed') throw new Error(`not claimed: ${claim.kind}`)
  return claim
}

const submitted = (attempt = 1, requestId = 'f8df74d1-11fa-4485-b164-b9a65358f4fc'): Settlement => ({
  attempt,
  outcome: 'accepted',
  code: 'WA202',
  durationMs: 84,
  state: 'submitted',
  counts: true,
  requestId,
})
const uncertain = (attempt = 1, answered = false): Settlement => ({
  attempt,
  outcome: 'uncertain',
  code: 'ETIMEDOUT',
  durationMs: 10_000,
  state: 'uncertain',
  inMs: 600_000,
  counts: true,
  answered,
  error: { code: 'ETIMEDOUT', kind: 'uncertain', message: 'no answer', at: 'submit' },
})

describe('a message on its way', () => {
  test('is accepted, claimed, settled, and read back with its attempt and request id', async () => {
    const id = await accepted({ reference: 'order-1042' })
    const claim = await claimed(id)
    expect(claim).toMatchObject({
      attempt: 1,
      tries: 0,
      to: '919876543210',
      content: '{"message":{}}',
    })
    now += 84
    expect(await ledger.settle(id, submitted())).toEqual({ settled: true, state: 'submitted' })
    expect(await ledger.read(id)).toEqual({
      state: 'submitted',
      generation: 0,
      salt: id.salt,
      to: '919876543210',
      createdAt: now - 84,
      updatedAt: now,
      due: 0,
      campaign: 0,
      requestId: 'f8df74d1-11fa-4485-b164-b9a65358f4fc',
      reference: 'order-1042',
      attempts: [{ at: now - 84, outcome: 'accepted', code: 'WA202', durationMs: 84 }],
      receipts: [],
      postBacks: [],
    })
    expect((await ledger.findByRequestId('f8df74d1-11fa-4485-b164-b9a65358f4fc'))?.text).toBe(id.text)
    expect(await ledger.findByRequestId('another')).toBeUndefined()
    expect((await ledger.findByReference('order-1042', 10)).ids.map((found) => found.text)).toEqual([id.text])
  })

  test('accepted twice under one id is one message, also when it has moved on', async () => {
    const [id] = await ledger.createIds(account, 1)
    const message = { id: id!, to: '919876543210', content: '{}', idempotent: false }
    expect(await ledger.accept(account, [message, message])).toMatchObject([
      { state: 'queued' },
      { state: 'queued' },
    ])
    expect(await ledger.accept(account, [message])).toMatchObject([{ state: 'queued' }])
    await claimed(id!)
    expect(await ledger.accept(account, [message])).toMatchObject([{ state: 'sending' }])
    expect(await ledger.depths(account)).toEqual({ waiting: 0, sending: 1, uncertain: 0 })
  })

  test('is claimed once: everybody else is told until when it is held', async () => {
    const id = await accepted()
    await claimed(id)
    expect(await ledger.claim(id, 0, 10_000, 'another')).toMatchObject({
      kind: 'held',
      inMs: 10_000,
      attempt: 1,
    })
  })

  test('whose claim was answered into a broken connection is claimed again by the same asker only', async () => {
    const id = await accepted()
    await claimed(id)
    expect(await ledger.claim(id, 0, 10_000, 'token')).toMatchObject({ kind: 'claimed', attempt: 1 })
    expect((await ledger.read(id))?.attempts).toHaveLength(1)
  })

  test('cannot be claimed before it is due, nor by the job of an older generation', async () => {
    const id = await accepted({ sendAt: now + 5_000 })
    expect((await ledger.read(id))?.state).toBe('scheduled')
    expect(await ledger.claim(id, 0, 10_000, 'token')).toEqual({ kind: 'early', inMs: 5_000 })
    now += 5_000
    expect(await ledger.requeue(id, 0)).toEqual({ generation: 1, due: now })
    expect(await ledger.claim(id, 0, 10_000, 'token')).toEqual({ kind: 'stale', state: 'scheduled' })
    await claimed(id, 1)
  })

  test('expires at the claim, or when the sweeper comes, and not a moment earlier', async () => {
    const atClaim = await accepted({ expiresAt: now + 1_000 })
    const swept = await accepted({ expiresAt: now + 1_000 })
    expect(await ledger.endWaiting(swept, 'expired')).toMatchObject({ changed: false, state: 'queued' })
    now += 1_000
    expect(await ledger.claim(atClaim, 0, 10_000, 'token')).toEqual({ kind: 'expired' })
    expect((await ledger.list(account, 'expiring', now, 0, 10)).map(({ text }) => text)).toEqual([swept.text])
    expect(await ledger.endWaiting(swept, 'expired')).toMatchObject({ changed: true, state: 'expired' })
    expect(await ledger.list(account, 'expiring', '+inf', 0, 10)).toEqual([])
  })

  test('can be cancelled while it waits and not once it is being sent', async () => {
    const waiting = await accepted()
    const sending = await accepted()
    await claimed(sending)
    expect(await ledger.endWaiting(waiting, 'cancelled')).toMatchObject({ changed: true, state: 'cancelled' })
    expect(await ledger.endWaiting(sending, 'cancelled')).toMatchObject({ changed: false, state: 'sending' })
    expect(await ledger.claim(waiting, 0, 10_000, 'token')).toEqual({ kind: 'stale', state: 'cancelled' })
    const [unknown] = await ledger.createIds(account, 1)
    expect(await ledger.endWaiting(unknown!, 'cancelled')).toMatchObject({ changed: false, state: undefined })
  })

  test('waits for its retry with the error of its last attempt, and loses it when it is submitted', async () => {
    const id = await accepted()
    const error = {
      code: 'WA500',
      kind: 'unavailable',
      message: 'Please try again later',
      at: 'submit' as const,
    }
    await claimed(id)
    const retry: Settlement = {
      attempt: 1,
      outcome: 'unavailable',
      code: 'WA500',
      durationMs: 5,
      state: 'retrying',
      inMs: 300_000,
      counts: true,
      error,
    }
    await ledger.settle(id, retry)
    expect(await ledger.read(id)).toMatchObject({ state: 'retrying', due: now + 300_000, error })
    now += 300_000
    expect(await claimed(id)).toMatchObject({ attempt: 2, tries: 1 })
    await ledger.settle(id, submitted(2))
    const record = await ledger.read(id)
    expect(record).not.toHaveProperty('error')
    expect(record?.attempts.map(({ outcome }) => outcome)).toEqual(['unavailable', 'accepted'])
  })
})

describe('an attempt', () => {
  test('settled twice counts once', async () => {
    const id = await accepted()
    await claimed(id)
    expect((await ledger.settle(id, submitted())).settled).toBe(true)
    expect(await ledger.settle(id, submitted())).toEqual({ settled: false, state: 'submitted' })
    expect(await ledger.settle(id, uncertain())).toEqual({ settled: false, state: 'submitted' })
  })

  test('given up for lost is still believed when its answer comes after all', async () => {
    const id = await accepted()
    await claimed(id)
    await ledger.settle(id, uncertain())
    expect((await ledger.settle(id, submitted())).state).toBe('submitted')
    expect(await ledger.depths(account)).toEqual({ waiting: 0, sending: 0, uncertain: 0 })
  })

  test('whose claim was lost with Redis is written down all the same', async () => {
    const id = await accepted() // the claim of the attempt never reached the disk
    expect((await ledger.settle(id, submitted())).state).toBe('submitted')
    expect(await ledger.claim(id, 0, 10_000, 'token')).toEqual({ kind: 'stale', state: 'submitted' })
  })

  test('that a person has decided without knowing still gets its request id, and what was called failed is submitted', async () => {
    for (const as of ['submitted', 'failed'] as const) {
      const id = await accepted()
      await claimed(id)
      await ledger.settle(id, uncertain())
      await ledger.resolve(id, as, false)
      expect(await ledger.settle(id, submitted(1, `late-${as}`))).toEqual({
        settled: true,
        state: 'submitted',
      })
      expect(await ledger.read(id)).toMatchObject({ state: 'submitted', requestId: `late-${as}` })
      expect(await ledger.read(id)).not.toHaveProperty('error')
    }
  })

  test('whose next turn would come after expires_at is the last one, and the message says why', async () => {
    const error = {
      code: 'WA500',
      kind: 'unavailable',
      message: 'Please try again later',
      at: 'submit' as const,
    }
    const retry = (inMs: number): Settlement => ({
      ...{
        attempt: 1,
        outcome: 'unavailable',
        code: 'WA500',
        durationMs: 5,
        state: 'retrying',
        counts: true,
      },
      ...{ inMs, error },
    })
    const inTime = await accepted({ expiresAt: now + 1_000 })
    const tooLate = await accepted({ expiresAt: now + 1_000 })
    for (const id of [inTime, tooLate]) await claimed(id)
    expect(await ledger.settle(inTime, retry(999))).toMatchObject({ state: 'retrying' })
    expect(await ledger.settle(tooLate, retry(1_000))).toMatchObject({ state: 'expired' })
    expect((await ledger.read(tooLate))?.error).toEqual(error)
  })

  test('of an earlier turn cannot change the one that is under way', async () => {
    const id = await accepted({ idempotent: true })
    await claimed(id)
    await ledger.settle(id, { ...uncertain(), state: 'retrying', inMs: 0 })
    await claimed(id)
    expect(await ledger.settle(id, submitted(1))).toEqual({ settled: false, state: 'sending' })
    expect((await ledger.settle(id, submitted(2))).state).toBe('submitted')
  })
})

describe('an uncertain message', () => {
  const uncertainMessage = async (answered = false) => {
    const id = await accepted()
    await claimed(id)
    await ledger.settle(id, uncertain(1, answered))
    return id
  }

  test.each([
    ['submitted', 'submitted', 0],
    ['failed', 'failed', 0],
    ['resend', 'queued', 1],
  ] as const)('resolved as %s is %s', async (as, state, generation) => {
    const id = await uncertainMessage()
    expect(await ledger.resolve(id, as, false)).toEqual({ changed: true, state, generation })
    if (state === 'queued') expect(await claimed(id, 1)).toMatchObject({ attempt: 2 })
  })

  test('that was answered with an unreadable 2xx is sent again by a person only', async () => {
    const id = await uncertainMessage(true)
    expect(await ledger.resolve(id, 'resend', true)).toMatchObject({ state: 'uncertain' })
    expect(await ledger.list(account, 'uncertain', now + 10 ** 12, 0, 10)).toEqual([])
    expect(await ledger.list(account, 'uncertain', '+inf', 0, 10)).toHaveLength(1)
    expect(await ledger.resolve(id, 'resend', false)).toMatchObject({ state: 'queued' })
  })

  test('is the only one that can be resolved', async () => {
    expect(await ledger.resolve(await accepted(), 'resend', false)).toMatchObject({
      changed: false,
      state: 'queued',
    })
  })
})

describe('a Redis that lost its data', () => {
  test('gets the accounts and their numbers back from whoever knew them', async () => {
    await redis.flushall()
    const other = new Ledger({ redis, retentionDays: 7, clock: () => now })
    expect(await ledger.open([account, 'gupshup-main'])).toBe(true)
    await other.open(['gupshup-main', 'another', account])
    expect([account, 'gupshup-main', 'another'].map((id) => other.numberOf(id))).toEqual([1, 2, 3])
  })

  test('says so when somebody else was first', async () => {
    await redis.flushall()
    await new Ledger({ redis, retentionDays: 7 }).open(['gupshup-main', account])
    expect(await ledger.open([account, 'gupshup-main'])).toBe(false)
    expect(ledger.numberOf(account)).toBe(2)
  })

  test('gives no place away twice: the later message is told that it is not stored', async () => {
    const first = await accepted()
    await redis.set('wa:{1}:n', 0)
    const restarted = new Ledger({ redis, retentionDays: 7, clock: () => now })
    await restarted.open([account, 'gupshup-main'])
    const [second] = await restarted.createIds(account, 1)
    expect(second!.sequence).toBe(first.sequence)
    const message = { id: second!, to: '919876543211', content: '{}', idempotent: false }
    expect(await restarted.accept(account, [message])).toMatchObject([{ state: undefined }])
    expect((await restarted.read(first))?.to).toBe('919876543210')
    // It has asked for another block by then.
    const [third] = await restarted.createIds(account, 1)
    expect(await restarted.accept(account, [{ ...message, id: third! }])).toMatchObject([{ state: 'queued' }])
  })
})

describe('what lies in Redis', () => {
  test('drops the content with the final state and the record after its retention', async () => {
    const brief = new Ledger({ redis, retentionDays: 1 / 86_400, clock: () => now })
    await brief.open([account])
    const [id] = await brief.createIds(account, 1)
    await brief.accept(account, [
      { id: id!, to: '919876543210', content: '{}', idempotent: false, reference: 'r' },
    ])
    expect(await brief.content(id!)).toBe('{}')
    await brief.claim(id!, 0, 1_000, 't')
    await brief.settle(id!, submitted())
    expect(await brief.content(id!)).toBeNull()
    expect(await brief.read(id!)).toBeDefined()
    await sleep(1_500)
    expect(await brief.read(id!)).toBeUndefined()
  })

  test('is kept while one message of the bucket is not final', async () => {
    const done = await accepted()
    const open = await accepted()
    await claimed(done)
    await ledger.settle(done, submitted())
    expect(await redis.ttl('wa:{1}:b:000000000')).toBe(-1)
    await ledger.endWaiting(open, 'cancelled')
    expect(await redis.ttl('wa:{1}:b:000000000')).toBeGreaterThan(6 * 86_400)
  })

  test('an id from before a lost ledger is nobody', async () => {
    const old = await accepted()
    await redis.flushall()
    await ledger.open([account])
    const fresh = await accepted()
    expect(fresh.text).not.toBe(old.text)
    expect(await ledger.claim(old, 0, 1_000, 't')).toEqual({ kind: 'stale', state: undefined })
  })

  test('every bucket stays a listpack, also with errors and long references', async () => {
    for (let index = 0; index < 16; index++) {
      const id = await accepted({ reference: 'r'.repeat(200) })
      await claimed(id)
      const error = { code: 'E110', kind: 'balance', message: 'x'.repeat(120), at: 'submit' as const }
      await ledger.settle(id, {
        ...submitted(),
        outcome: 'rejected',
        state: 'failed',
        requestId: undefined,
        error,
      })
      expect((await ledger.read(id))?.error).toEqual(error)
      expect((await ledger.read(id))?.reference).toBe('r'.repeat(200))
    }
    expect(['listpack', 'ziplist']).toContain(await redis.object('ENCODING', 'wa:{1}:b:000000000'))
  })

  test('100,000 finished messages with attempt and request id cost at most 500 bytes each', async () => {
    const used = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
    const before = await used()
    const count = 100_000
    const ids = await ledger.createIds(account, count)
    for (let from = 0; from < count; from += 1_000) {
      await Promise.all(
        ids.slice(from, from + 1_000).map(async (id, index) => {
          const message = {
            id,
            to: String(919_000_000_000 + from + index),
            content: '{"message":{}}',
            idempotent: false,
          }
          await Promise.all([
            ledger.accept(account, [message]),
            ledger.claim(id, 0, 10_000, 'token'),
            ledger.settle(id, submitted(1, crypto.randomUUID())),
          ])
        }),
      )
    }
    expect((await ledger.read(ids[count - 1]!))?.state).toBe('submitted')
    const bytes = ((await used()) - before) / count
    console.log(`a finished message costs ${bytes.toFixed(0)} bytes`)
    expect(bytes).toBeLessThan(500)
  }, 120_000)
})
