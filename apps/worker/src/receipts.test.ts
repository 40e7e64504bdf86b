import { setTimeout as sleep } from 'node:timers/promises'
import { Ledger, type MessageId, ReceiptQueue } from '@wa-dispatch/dispatch'
import { providers } from '@wa-dispatch/providers'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { useRedis } from '../../../test/redis.ts'
import { type ReceiptAccount, Receipts, type ReceiptsOptions } from './receipts.ts'

const server = await useRedis(afterAll)
const redis = new Redis(server.url, { maxRetriesPerRequest: null })
redis.on('error', () => undefined)
afterAll(() => redis.disconnect())
const account = 'kaleyra-in'
const kaleyra: ReceiptAccount = { id: account, read: (text) => providers.kaleyra.readReceipts!(text) }

let ledger: Ledger
let queue: ReceiptQueue
let logged: { level: number; msg: string }[]
let applied: { status: string; matched: boolean; sinceArrivalMs: number }[]
let running: Receipts[]

beforeEach(async () => {
  await redis.flushall()
  ledger = new Ledger({ redis, retentionDays: 7 })
  await ledger.open([account])
  queue = new ReceiptQueue(redis, ledger)
  logged = []
  applied = []
  running = []
})
afterEach(async () => {
  await Promise.all(running.map((receipts) => receipts.close()))
})

function startReceipts(options: Partial<ReceiptsOptions> = {}): Receipts {
  const receipts = new Receipts({
    queue,
    ledger,
    accounts: [kaleyra],
    metrics: {
      receiptApplied: (_account, status, matched, sinceArrivalMs) =>
        applied.push({ status, matched, sinceArrivalMs }),
    },
    log: pino({ level: 'info' }, { write: (line) => logged.push(JSON.parse(line)) }),
    consumer: `consumer-${running.length}`,
    ...options,
    timing: { idleMs: 10, afterFaultMs: 20, takeOverAfterMs: 200, lookEveryMs: 20, ...options.timing },
  })
  receipts.start()
  running.push(receipts)
  return receipts
}

/** Messages that the provider took under the request ids `request-0`, … */
async function submitted(count: number, prefix = 'request'): Promise<MessageId[]> {
  const ids = await ledger.createIds(account, count)
  const accepted = ids.map((id) => ({ id, to: '919876543210', content: '{}', idempotent: false }))
  await ledger.accept(account, accepted)
  await Promise.all(
    ids.map(async (id, number) => {
      await ledger.claim(id, 0, 10_000, 'token')
      await ledger.settle(id, {
        attempt: 1,
        outcome: 'accepted',
        code: 'WA202',
        durationMs: 1,
        state: 'submitted',
        counts: true,
        requestId: `${prefix}-${number}`,
      })
    }),
  )
  return ids
}

const receipt = (id: string, status: string, ref?: string) =>
  JSON.stringify({
    meta_object: {
      value: { statuses: [{ id, status, timestamp: String(Math.floor(Date.now() / 1_000)) }] },
      field: 'messages',
    },
    extra_info: { ref },
  })

async function until(what: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!(await what())) {
    if (performance.now() > deadline) throw new Error('it did not come to that')
    await sleep(10)
  }
}
const untilEmpty = () => until(async () => (await queue.depth(account)) === 0)
const stateOf = async (id: MessageId) => (await ledger.read(id))?.state

describe('receipts that came in', () => {
  it('move their messages, find them by request id or by our own, and are counted', async () => {
    const [one, two, three] = await submitted(3)
    startReceipts()
    await queue.put(account, receipt('request-0', 'delivered'))
    await queue.put(account, receipt('another', 'read', two!.text))
    await queue.put(account, receipt('request-2', 'clicked-somewhere'))
    await untilEmpty()
    expect(await Promise.all([one!, two!, three!].map(stateOf))).toEqual(['delivered', 'read', 'submitted'])
    expect(applied.map(({ status, matched }) => [status, matched])).toEqual([
      ['delivered', true],
      ['read', true],
      ['clicked-somewhere', true],
    ])
    for (const { sinceArrivalMs } of applied) {
      expect(sinceArrivalMs).toBeGreaterThanOrEqual(0)
      expect(sinceArrivalMs).toBeLessThan(20_000)
    }
  })

  it('that match nothing are kept, and applied when their message is known', async () => {
    startReceipts()
    await queue.put(account, receipt('request-0', 'delivered'))
    await untilEmpty()
    expect(applied).toMatchObject([{ status: 'delivered', matched: false }])
    expect(await ledger.unmatchedReceipts(account, 10)).toMatchObject([{ requestId: 'request-0' }])
    const [id] = await submitted(1)
    expect(await stateOf(id!)).toBe('delivered')
    expect(await ledger.unmatchedReceipts(account, 10)).toEqual([])
  })

  it('never move the message of another account', async () => {
    await ledger.open([account, 'gupshup-main'])
    const [mine] = await submitted(1)
    startReceipts({ accounts: [kaleyra, { ...kaleyra, id: 'gupshup-main' }] })
    await queue.put('gupshup-main', receipt('request-0', 'read', mine!.text))
    await until(async () => (await queue.depth('gupshup-main')) === 0)
    expect(await stateOf(mine!)).toBe('submitted')
    expect(await ledger.unmatchedCount('gupshup-main')).toBe(1)
  })

  it('are shared by several workers, many at once', async () => {
    const ids = await submitted(1_000)
    // On a busy machine one of them may take its time.
    for (let worker = 0; worker < 3; worker++) startReceipts({ timing: { takeOverAfterMs: 20_000 } })
    await Promise.all(
      ids.flatMap((_, number) => [
        queue.put(account, receipt(`request-${number}`, 'read')),
        queue.put(account, receipt(`request-${number}`, 'sent')),
        queue.put(account, receipt(`request-${number}`, 'delivered')),
      ]),
    )
    await untilEmpty()
    expect(new Set(await Promise.all(ids.map(stateOf)))).toEqual(new Set(['read']))
    expect(applied).toHaveLength(3_000)
  })
})

describe('what nobody can make sense of', () => {
  it('is kept with its beginning, and holds up nothing', async () => {
    const [id] = await submitted(1)
    startReceipts()
    const odd = ['{"hello":"there"}', '7', `"${'x'.repeat(100_000)}"`]
    for (const body of [...odd, receipt('request-0', 'delivered')]) await queue.put(account, body)
    await untilEmpty()
    expect(await stateOf(id!)).toBe('delivered')
    const kept = await ledger.unmatchedReceipts(account, 10)
    expect(kept.map(({ status, error }) => [status, error?.code])).toEqual(
      odd.map(() => ['unreadable', 'UNREADABLE']),
    )
    expect(kept.map(({ error }) => error?.message).sort()).toEqual(
      odd.map((body) => body.slice(0, 200)).sort(),
    )
    expect(logged.filter(({ msg }) => msg === 'receipt.unreadable')).toHaveLength(3)
  })

  it('is kept also where reading it is more than our code can take', async () => {
    const [id] = await submitted(1)
    const read = (text: string) => {
      if (text.includes('poison')) throw new TypeError('not again')
      return kaleyra.read(text)
    }
    startReceipts({ accounts: [{ id: account, read }] })
    await queue.put(account, '{"poison":1}')
    await queue.put(account, receipt('request-0', 'delivered'))
    await untilEmpty()
    expect(await stateOf(id!)).toBe('delivered')
    expect(await ledger.unmatchedReceipts(account, 10)).toMatchObject([
      { status: 'unreadable', error: { message: '{"poison":1}' } },
    ])
  })

  it('is kept also where applying it is more than our code can take, and those beside it are applied', async () => {
    const ids = await submitted(3)
    const fragile: ReceiptsOptions['ledger'] = {
      now: () => ledger.now(),
      async applyReceipts(account, receipts) {
        if (receipts.some(({ requestId }) => requestId === 'request-1')) throw new TypeError('not again')
        return ledger.applyReceipts(account, receipts)
      },
    }
    startReceipts({ ledger: fragile })
    await Promise.all(ids.map((_, number) => queue.put(account, receipt(`request-${number}`, 'delivered'))))
    await untilEmpty()
    expect(await Promise.all(ids.map(stateOf))).toEqual(['delivered', 'submitted', 'delivered'])
    expect(await ledger.unmatchedReceipts(account, 10)).toMatchObject([
      { status: 'unreadable', error: { message: expect.stringContaining('request-1') } },
    ])
  })
})

describe('when something dies', () => {
  it('what a dead worker had in hand is applied by another, and the dead one is forgotten', async () => {
    const [id] = await submitted(1)
    await queue.put(account, receipt('request-0', 'delivered'))
    while ((await queue.take(account, 'dead')).length === 0);
    startReceipts({ timing: { forgetAfterMs: 300 } })
    await untilEmpty()
    expect(await stateOf(id!)).toBe('delivered')
    const names = async () =>
      JSON.stringify(await redis.xinfo('CONSUMERS', ledger.keysOf(account).receipts, 'w'))
    await until(async () => !(await names()).includes('dead'))
  })

  it('nothing is lost while Redis refuses to write, and all is applied afterwards', async () => {
    const ids = await submitted(3)
    await Promise.all(ids.map((_, number) => queue.put(account, receipt(`request-${number}`, 'read'))))
    await redis.config('SET', 'maxmemory', '1')
    startReceipts()
    await until(() => logged.some(({ msg }) => msg === 'receipts.not_applied'))
    await redis.config('SET', 'maxmemory', '0')
    await untilEmpty()
    expect(await Promise.all(ids.map(stateOf))).toEqual(['read', 'read', 'read'])
    expect(await ledger.unmatchedCount(account)).toBe(0)
  })

  it('it goes on when Redis was killed and is back', async () => {
    const ids = await submitted(2)
    startReceipts()
    await queue.put(account, receipt('request-0', 'read'))
    await untilEmpty()
    await server.kill()
    await sleep(100)
    await server.start()
    await queue.put(account, receipt('request-1', 'read'))
    await untilEmpty()
    expect(await Promise.all(ids.map(stateOf))).toEqual(['read', 'read'])
  })

  it('it goes on with a Redis that lost its data', async () => {
    startReceipts()
    await queue.put(account, receipt('request-0', 'read'))
    await untilEmpty()
    await redis.flushall()
    await ledger.open([account])
    const [id] = await submitted(1, 'later')
    await queue.put(account, receipt('later-0', 'read'))
    await untilEmpty()
    expect(await stateOf(id!)).toBe('read')
  })

  it('one that is asked to end gets done with what it has, and leaves nothing behind', async () => {
    const ids = await submitted(500)
    for (const [number] of ids.entries()) await queue.put(account, receipt(`request-${number}`, 'read'))
    const worker = startReceipts()
    await until(() => applied.length > 0)
    await worker.close()
    const [inHand] = (await redis.xpending(ledger.keysOf(account).receipts, 'w')) as [number]
    expect(inHand).toBe(0)
    expect(await redis.xinfo('CONSUMERS', ledger.keysOf(account).receipts, 'w')).toEqual([])
  })
})
