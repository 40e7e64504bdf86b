import {
  Ledger,
  type LedgerReceipt,
  type MessageId,
  type MessageState,
  type NewMessage,
  type Settlement,
} from '@wa-dispatch/dispatch'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'

const onEnd = endings()
let redis: Redis
let ledger: Ledger
let now = 0
const account = 'gupshup-main'
const wamid = 'wamid.HBgMOTE5ODc2NTQzMjEwFQIAERgSQjg0N0U5NTQ5RkM3QjVDMzVEAA=='

beforeAll(async () => {
  redis = new Redis((await useRedis(onEnd)).url)
})
afterAll(() => redis?.disconnect())

beforeEach(async () => {
  await redis.flushall()
  now = 1_790_000_000_000
  ledger = new Ledger({ redis, retentionDays: 7, clock: () => now })
  await ledger.open(['kaleyra-in', account])
})

async function accepted(extra: Partial<NewMessage> = {}): Promise<MessageId> {
  const [id] = await ledger.createIds(account, 1)
  await ledger.accept(account, [{ id: id!, to: '919876543210', content: '{}', idempotent: false, ...extra }])
  return id!
}

const outcomes = {
  accepted: { outcome: 'accepted', code: '200', state: 'submitted' },
  rejected: { outcome: 'rejected', code: 'WA400', state: 'failed' },
  unavailable: { outcome: 'unavailable', code: 'WA500', state: 'retrying' },
  uncertain: { outcome: 'uncertain', code: 'ETIMEDOUT', state: 'uncertain', inMs: 600_000 },
} as const

function settlement(kind: keyof typeof outcomes, requestId?: string, attempt = 1): Settlement {
  const told = outcomes[kind]
  return {
    attempt,
    durationMs: 5,
    counts: true,
    ...told,
    ...(kind === 'accepted' && { requestId }),
    ...(kind !== 'accepted' && {
      error: { code: told.code, kind: 'other', message: 'in words', at: 'submit' },
    }),
  }
}

async function attempted(id: MessageId, kind: keyof typeof outcomes, requestId?: string, generation = 0) {
  const claim = await ledger.claim(id, generation, 10_000, 'token')
  if (claim.kind !== 'claimed') throw new Error(`not claimed: ${claim.kind}`)
  await ledger.settle(id, settlement(kind, requestId, claim.attempt))
}

async function submitted(requestId = 'req-1', extra: Partial<NewMessage> = {}) {
  const id = await accepted(extra)
  await attempted(id, 'accepted', requestId)
  return id
}

type State = NonNullable<LedgerReceipt['state']>
const error = { code: '131026', kind: 'recipient', message: 'Not on WhatsApp' }
const receipt = (state: State, extra: Partial<LedgerReceipt> = {}): LedgerReceipt => ({
  requestId: 'req-1',
  status: state,
  state,
  at: now,
  ...(state === 'failed' && { error }),
  ...extra,
})
const hear = (...receipts: LedgerReceipt[]) => ledger.applyReceipts(account, receipts)
const stateOf = async (id: MessageId) => (await ledger.read(id))?.state

describe('a receipt finds its message', () => {
  test('by our own id, though the answer with the request id was lost', async () => {
    const id = await accepted()
    await attempted(id, 'uncertain')
    expect(await hear(receipt('delivered', { messageId: id }))).toEqual([
      { id, state: 'delivered', moved: true },
    ])
    expect(await ledger.read(id)).toMatchObject({
      state: 'delivered',
      receipts: [{ at: now, status: 'delivered' }],
    })
    expect(await ledger.read(id)).not.toHaveProperty('error')
    expect(await ledger.depths(account)).toEqual({ waiting: 0, sending: 0, uncertain: 0 })
  })

  test('by its request id, also days later', async () => {
    const id = await submitted()
    now += 6 * 86_400_000
    await hear(receipt('read'))
    expect(await stateOf(id)).toBe('read')
  })

  test('by its request id for a month, and a name that nobody knows costs few look-ups, however long retention is', async () => {
    ledger = new Ledger({ redis, retentionDays: 3_650, clock: () => now })
    await ledger.open(['kaleyra-in', account])
    const id = await submitted()
    now += 30 * 86_400_000
    await hear(receipt('delivered'))
    expect(await stateOf(id)).toBe('delivered')
    await redis.config('RESETSTAT')
    await hear(receipt('delivered', { requestId: 'unknown', wamid }))
    const [, calls] = /cmdstat_hget:calls=(\d+)/.exec(await redis.info('commandstats'))!
    expect(Number(calls)).toBeLessThan(100)
  })

  test('by the wamid that an earlier one told', async () => {
    const id = await submitted()
    await hear(receipt('sent', { wamid }))
    await hear(receipt('read', { requestId: undefined, wamid }))
    expect(await ledger.read(id)).toMatchObject({ state: 'read', wamid })
  })

  test('and waits in the pen until the request id is written', async () => {
    const id = await accepted()
    await ledger.claim(id, 0, 10_000, 'token')
    expect(await hear(receipt('sent', { at: now - 5 }), receipt('delivered'))).toEqual([
      { id: undefined, state: undefined, moved: false },
      { id: undefined, state: undefined, moved: false },
    ])
    expect(await ledger.unmatchedReceipts(account, 10)).toEqual([
      { at: now - 5, receivedAt: now, status: 'sent', requestId: 'req-1' },
      { at: now, receivedAt: now, status: 'delivered', requestId: 'req-1' },
    ])
    expect(await ledger.settle(id, settlement('accepted', 'req-1'))).toEqual({
      settled: true,
      state: 'delivered',
    })
    expect((await ledger.read(id))?.receipts.map(({ status }) => status)).toEqual(['sent', 'delivered'])
    expect(await ledger.unmatchedCount(account)).toBe(0)
  })

  test('or waits in the pen until another one names its wamid', async () => {
    const id = await submitted()
    await hear(receipt('read', { requestId: undefined, wamid }))
    expect(await stateOf(id)).toBe('submitted')
    await hear(receipt('sent', { wamid }))
    expect(await stateOf(id)).toBe('read')
  })

  test('and never one of another account', async () => {
    const id = await submitted()
    expect(await ledger.applyReceipts('kaleyra-in', [receipt('read', { messageId: id })])).toMatchObject([
      { id: undefined },
    ])
    expect(await stateOf(id)).toBe('submitted')
  })

  test('and is listed for the retention when there is none, newest kept and no repeat twice', async () => {
    await hear(
      receipt('sent'),
      receipt('sent'),
      receipt('failed', { requestId: undefined, recipient: '4477' }),
    )
    expect(await ledger.unmatchedReceipts(account, 10)).toEqual([
      { at: now, receivedAt: now, status: 'sent', requestId: 'req-1' },
      {
        at: now,
        receivedAt: now,
        status: 'failed',
        recipient: '4477',
        error: { code: '131026', message: 'Not on WhatsApp' },
      },
    ])
    now += 7 * 86_400_000 + 1
    await hear(receipt('sent', { requestId: 'req-9' }))
    expect(await ledger.unmatchedReceipts(account, 10)).toMatchObject([{ requestId: 'req-9' }])
  })
})

describe('the state by receipts', () => {
  const order: State[] = ['sent', 'failed', 'delivered', 'read']

  test.each(
    order.flatMap((first) =>
      order.map((second) => [first, second, order[Math.max(order.indexOf(first), order.indexOf(second))]!]),
    ),
  )('%s and then %s is %s', async (first, second, state) => {
    const id = await submitted()
    await hear(receipt(first))
    now += 1
    await hear(receipt(second))
    expect(await stateOf(id)).toBe(state)
  })

  test('is failed at delivery, with the code and in words', async () => {
    const id = await submitted()
    await hear(receipt('failed'))
    expect((await ledger.read(id))?.error).toEqual({ ...error, at: 'delivery' })
  })

  test('of a word that means nothing to us does not move, and the word is kept', async () => {
    const id = await submitted()
    expect(await hear({ requestId: 'req-1', status: 'clicked', at: now })).toMatchObject([{ moved: false }])
    expect(await ledger.read(id)).toMatchObject({ state: 'submitted', receipts: [{ status: 'clicked' }] })
  })

  test('a repeated receipt changes nothing, not even the time', async () => {
    const id = await submitted()
    await hear(receipt('delivered'))
    const before = await ledger.read(id)
    const again = receipt('delivered')
    now += 60_000
    expect(await hear(again)).toMatchObject([{ moved: false }])
    expect(await ledger.read(id)).toEqual(before)
  })

  test('without a time is known by its word when it is repeated, also while it matches nothing', async () => {
    const untimed = (state: State) => receipt(state, { untimed: true })
    const id = await submitted()
    await hear(untimed('sent'))
    const before = await ledger.read(id)
    now += 1_000
    expect(await hear(untimed('sent'))).toMatchObject([{ moved: false }])
    expect(await ledger.read(id)).toEqual(before)

    const early = { ...untimed('sent'), requestId: 'req-2' }
    await hear(early)
    now += 1_000
    await hear({ ...early, at: now })
    expect(await ledger.unmatchedReceipts(account, 10)).toMatchObject([{ at: now - 1_000 }])
  })

  test('and its times are told, however far they are from each other', async () => {
    const id = await accepted({
      sendAt: now + 90 * 86_400_000,
      callback: { receiver: 'r1', url: 'https://a.example' },
    })
    now += 90 * 86_400_000
    await attempted(id, 'accepted', 'req-1')
    // A provider's clock that is months behind.
    const at = now - 150 * 86_400_000
    await hear(receipt('delivered', { at }))
    expect(await ledger.read(id)).toMatchObject({
      state: 'delivered',
      attempts: [{ at: now }],
      receipts: [{ at }],
      postBacks: [{ at: now }, { at: now }],
    })
    await ledger.takePostBacks(account, 1, new Map(), 1, 60_000)
    await ledger.settlePostBack(id, 1, { code: '204', durationMs: 0, next: 'delivered' })
    expect((await ledger.read(id))?.postBacks[0]?.attempts).toEqual([{ at: now, code: '204', durationMs: 0 }])
  })

  test('ends a message that was to be sent again', async () => {
    const id = await accepted()
    await attempted(id, 'uncertain')
    await ledger.resolve(id, 'resend', false)
    await hear(receipt('sent', { messageId: id }))
    expect(await stateOf(id)).toBe('sent')
    expect(await ledger.claim(id, 1, 10_000, 'another')).toEqual({ kind: 'stale', state: 'sent' })
    expect(await ledger.content(id)).toBeNull()
  })

  test.each([
    ['accepted', 'sent', 'sent'],
    ['accepted', 'failed', 'failed'],
    ['uncertain', 'delivered', 'delivered'],
    ['uncertain', 'failed', 'failed'],
    ['unavailable', 'delivered', 'delivered'],
    ['unavailable', 'failed', 'retrying'],
    ['rejected', 'sent', 'sent'],
    ['rejected', 'failed', 'failed'],
  ] as const)('of an attempt that ends %s, after %s was heard: %s', async (outcome, heard, state) => {
    const id = await accepted()
    await ledger.claim(id, 0, 10_000, 'token')
    await hear(receipt(heard, { messageId: id }))
    expect(await stateOf(id)).toBe('sending')
    expect(await ledger.settle(id, settlement(outcome, 'req-1'))).toEqual({ settled: true, state })
    const read = await ledger.read(id)
    expect(read?.error?.at).toBe(
      state === 'failed' && outcome !== 'rejected'
        ? 'delivery'
        : state === 'sent' || state === 'delivered'
          ? undefined
          : 'submit',
    )
    expect(await ledger.depths(account)).toMatchObject({ sending: 0, uncertain: 0 })
  })

  test('of a late answer stays, and the request id is written', async () => {
    const id = await accepted()
    await attempted(id, 'uncertain')
    await hear(receipt('delivered', { messageId: id }))
    expect(await ledger.settle(id, settlement('accepted', 'req-1'))).toEqual({
      settled: true,
      state: 'delivered',
    })
    expect(await ledger.read(id)).toMatchObject({ state: 'delivered', requestId: 'req-1' })
  })
})

describe('whatever the order', () => {
  const heard = fc.record({
    word: fc.constantFrom<string>('sent', 'failed', 'delivered', 'read', 'clicked'),
    at: fc.nat({ max: 5 }),
    by: fc.constantFrom('request', 'id', 'wamid', 'both'),
  })
  type Heard = typeof heard extends fc.Arbitrary<infer T> ? T : never
  const happened = fc.record({
    receipts: fc.array(heard, { maxLength: 8 }),
    outcome: fc.constantFrom<keyof typeof outcomes>('accepted', 'uncertain', 'rejected'),
  })

  /** Receipts by their order, repeated where it is named twice; the answer comes at its place among them. */
  async function run(receipts: Heard[], outcome: keyof typeof outcomes, order: number[], answerAt: number) {
    const id = await accepted()
    await ledger.claim(id, 0, 10_000, 'token')
    const own = `req-${id.text}`
    const ownWamid = `wamid.${id.text}`
    for (let place = 0; place <= order.length; place++) {
      if (place === answerAt) await ledger.settle(id, settlement(outcome, own))
      if (place === order.length) break
      const { word, at, by } = receipts[order[place]!]!
      const known = ['sent', 'failed', 'delivered', 'read'].includes(word)
      await hear({
        status: word,
        at: now + at,
        ...(known && { state: word as State }),
        ...(word === 'failed' && { error }),
        ...((by === 'request' || by === 'both') && { requestId: own }),
        ...((by === 'wamid' || by === 'both') && { wamid: ownWamid }),
        ...((by === 'id' || (outcome !== 'accepted' && by !== 'wamid')) && { messageId: id }),
      })
    }
    const { state, receipts: kept, error: why } = (await ledger.read(id))!
    const sorted = kept.map(({ at, status }) => `${at - now} ${status}`).sort()
    // Refused and then sent: a provider that contradicts itself has the last word on why.
    return { state, receipts: sorted, at: outcome === 'rejected' ? undefined : why?.at }
  }

  test('the end is that of the ordered run, with the receipts early, late, repeated and shuffled', async () => {
    const states = new Set<MessageState>()
    await fc.assert(
      fc.asyncProperty(
        happened.chain(({ receipts, outcome }) =>
          fc.record({
            receipts: fc.constant(receipts),
            outcome: fc.constant(outcome),
            shuffled: fc.shuffledSubarray([...receipts.keys(), ...receipts.keys()], {
              minLength: 2 * receipts.length,
            }),
            answerAt: fc.nat({ max: 2 * receipts.length }),
          }),
        ),
        async ({ receipts, outcome, shuffled, answerAt }) => {
          const inOrder = [...receipts.keys()].sort((a, b) => receipts[a]!.at - receipts[b]!.at)
          const ordered = await run(receipts, outcome, inOrder, 0)
          expect(await run(receipts, outcome, shuffled, answerAt)).toEqual(ordered)
          states.add(ordered.state)
        },
      ),
      { seed: 20_261_122, numRuns: 400 },
    )
    expect([...states].sort()).toEqual(['delivered', 'failed', 'read', 'sent', 'submitted', 'uncertain'])
  })
})

describe('a campaign', () => {
  test('retried after failures at delivery sends those again, and their old receipts end nothing', async () => {
    const number = 1
    await redis.hset('wa:{2}:k:1', 's', 3)
    const id = await accepted({ campaign: number })
    await attempted(id, 'accepted', 'req-1')
    await hear(receipt('failed'))
    expect(await ledger.reopen(account, [{ id, content: '{}' }])).toEqual([1])
    expect(await hear(receipt('sent'), receipt('failed', { at: now + 5 }))).toMatchObject([
      { moved: false },
      { moved: false },
    ])
    expect(await stateOf(id)).toBe('queued')
    await attempted(id, 'accepted', 'req-2', 1)
    expect(await stateOf(id)).toBe('submitted')
    // The first one failed, and this is the second.
    await hear(receipt('failed', { at: now + 6 }))
    expect(await stateOf(id)).toBe('submitted')
    await hear(receipt('delivered', { requestId: 'req-2' }))
    expect(await stateOf(id)).toBe('delivered')
    expect(await redis.hgetall('wa:{2}:k:1')).toMatchObject({ 8: '1', 10: '0' })
  })

  test('hears of the next attempt what it heard of the one before, also where no time is told', async () => {
    await redis.hset('wa:{2}:k:1', 's', 3)
    const id = await accepted({ campaign: 1 })
    await attempted(id, 'accepted', 'req-1')
    await hear(receipt('failed', { untimed: true }))
    now += 1_000
    await ledger.reopen(account, [{ id, content: '{}' }])
    await attempted(id, 'accepted', 'req-2', 1)
    now += 1_000
    expect(await hear(receipt('failed', { requestId: 'req-2', untimed: true }))).toMatchObject([
      { state: 'failed', moved: true },
    ])
    expect((await ledger.read(id))?.receipts.map(({ at }) => at)).toEqual([now - 2_000, now])
  })

  test('counts what long stories in a language of many bytes say of neighbours, all heard at once', async () => {
    await redis.hset('wa:{2}:k:1', 's', 3, '2', 32)
    const ids = await ledger.createIds(account, 32)
    const rows = ids.map((id) => ({ id, to: '919876543210', content: '{}', idempotent: false, campaign: 1 }))
    await ledger.accept(account, rows)
    for (const id of ids) await attempted(id, 'accepted', id.text)
    const why = { code: '131026', message: 'पाने वाले के पास नहीं पहुँचा '.repeat(20) }
    const failed = (some: MessageId[]) =>
      some.map((id) => receipt('failed', { requestId: id.text, error: why }))
    // One bucket has the longest stories that are kept; the other one is heard of beside it.
    for (let time = 0; time < 19; time++) {
      now += 1
      for (const id of ids.slice(0, 16)) await hear(...failed([id]))
    }
    expect(await redis.hgetall('wa:{2}:k:1')).toMatchObject({ 6: '16', 10: '16' })
    now += 1
    await hear(...failed(ids))
    expect(await redis.hgetall('wa:{2}:k:1')).toMatchObject({ 6: '0', 10: '32' })
  })

  test('does not send a row again that turns out to have arrived', async () => {
    await redis.hset('wa:{2}:k:1', 's', 3)
    const id = await accepted({ campaign: 1 })
    await attempted(id, 'accepted', 'req-1')
    await hear(receipt('failed'))
    await ledger.reopen(account, [{ id, content: '{}' }])
    await hear(receipt('delivered'))
    expect(await ledger.claim(id, 1, 10_000, 'token')).toEqual({ kind: 'stale', state: 'delivered' })
  })
})

describe('what the caller is told', () => {
  const callback = { receiver: 'r1', url: 'https://example.com/states', data: 'mine' }
  const take = (most = 10, room = new Map<string, number>(), others = 10) =>
    ledger.takePostBacks(account, most, room, others, 60_000)
  const delivered = { code: '204', durationMs: 12, next: 'delivered' as const }

  test('each state from submitted on, one after the other, with what it needs to know', async () => {
    const id = await submitted('req-1', { callback, reference: 'order-1' })
    await hear(receipt('sent'), receipt('delivered'))
    const [first, ...more] = await take()
    expect(more).toEqual([])
    expect(first).toEqual({
      id,
      event: 1,
      eventId: `evt_${id.text.slice(4)}_1`,
      state: 'submitted',
      at: now,
      tries: 0,
      receiver: 'r1',
      url: 'https://example.com/states',
      data: 'mine',
      to: '919876543210',
      campaign: 0,
      requestId: 'req-1',
      reference: 'order-1',
    })
    // Taken: nobody else gets it, and nothing that comes after it.
    expect(await take()).toEqual([])
    now += 100
    await ledger.settlePostBack(id, 1, delivered)
    expect(await take()).toMatchObject([{ event: 2, state: 'sent', tries: 0 }])
    await ledger.settlePostBack(id, 2, delivered)
    expect(await take()).toMatchObject([{ event: 3, state: 'delivered' }])
    await ledger.settlePostBack(id, 3, delivered)
    expect(await take()).toEqual([])
    expect((await ledger.read(id))?.postBacks).toMatchObject([
      { event: 1, state: 'submitted', status: 'delivered', attempts: [{ code: '204', durationMs: 12 }] },
      { event: 2, state: 'sent', status: 'delivered' },
      { event: 3, state: 'delivered', status: 'delivered' },
    ])
    expect(await redis.keys('wa:{2}:p*')).toEqual([])
  })

  test('a failure with its error, in the words of the provider', async () => {
    const id = await submitted('req-1', { callback })
    await hear(receipt('failed'))
    await take()
    await ledger.settlePostBack(id, 1, delivered)
    expect(await take()).toMatchObject([{ state: 'failed', error: { ...error, at: 'delivery' } }])
  })

  test('why it failed, also when it is sent again or arrives before that is told', async () => {
    await redis.hset('wa:{2}:k:1', 's', 3)
    const id = await submitted('req-1', { callback: { receiver: 'r1' }, campaign: 1 })
    await hear(receipt('failed'))
    await ledger.reopen(account, [{ id, content: '{}' }])
    await attempted(id, 'rejected', undefined, 1)
    await hear(receipt('delivered'))
    const told: unknown[] = []
    for (let event = 1; event <= 4; event++) {
      const [one] = await take()
      told.push([one?.state, one?.error?.code])
      await ledger.settlePostBack(id, event, delivered)
    }
    expect(told).toEqual([
      ['submitted', undefined],
      ['failed', error.code],
      ['failed', outcomes.rejected.code],
      ['delivered', undefined],
    ])
    expect((await ledger.read(id))?.error).toBeUndefined()
    // By hand, long after.
    expect(await ledger.resendPostBack(id, 2)).toBe(true)
    expect(await take()).toMatchObject([{ event: 2, error: { ...error, at: 'delivery' } }])
  })

  test('again after a wait, the later events behind it, until it is given up and sent again by hand', async () => {
    const id = await submitted('req-1', { callback })
    await hear(receipt('delivered'))
    await take()
    now += 100
    await ledger.settlePostBack(id, 1, { code: 'ETIMEDOUT', durationMs: 9, next: { inMs: 5_000 } })
    expect(await take()).toEqual([])
    now += 5_000
    expect(await take()).toMatchObject([{ event: 1, tries: 1, firstTriedAt: now - 5_009 }])
    await ledger.settlePostBack(id, 1, { code: '410', durationMs: 9, next: 'dead' })
    expect(await ledger.deadPostBacks(account, 10)).toEqual([{ id, event: 1, at: now }])
    expect(await take()).toMatchObject([{ event: 2 }])
    await ledger.settlePostBack(id, 2, delivered)
    expect((await ledger.read(id))?.postBacks).toMatchObject([
      { status: 'dead', attempts: [{ code: 'ETIMEDOUT' }, { code: '410' }] },
      { status: 'delivered' },
    ])
    expect(await ledger.resendPostBack(id, 1)).toBe(true)
    expect(await ledger.resendPostBack(id, 1)).toBe(false)
    expect(await ledger.deadPostBacks(account, 10)).toEqual([])
    expect(await take()).toMatchObject([{ event: 1, tries: 0 }])
  })

  test('what its taker left behind comes back, and its late settlement counts once', async () => {
    const id = await submitted('req-1', { callback })
    await take()
    now += 60_000
    expect(await take()).toMatchObject([{ event: 1 }])
    await ledger.settlePostBack(id, 1, delivered)
    await ledger.settlePostBack(id, 1, { code: '500', durationMs: 1, next: { inMs: 1 } })
    expect((await ledger.read(id))?.postBacks).toMatchObject([
      { status: 'delivered', attempts: [{ code: '204' }] },
    ])
  })

  test('a receiver without room leaves it to the others', async () => {
    for (let index = 0; index < 30; index++) await submitted(`a-${index}`, { callback })
    now += 1
    await submitted('b', { callback: { ...callback, receiver: 'r2' } })
    const taken = await take(10, new Map([['r1', 2]]))
    expect(taken.map(({ receiver }) => receiver)).toEqual(['r1', 'r1', 'r2'])
    now += 250
    expect(await take(10, new Map([['r1', 0]]))).toEqual([])
    await ledger.settlePostBack(taken[0]!.id, 1, delivered)
    expect(await take(10, new Map([['r1', 5]]))).toHaveLength(5)
  })

  test('nothing of a message without a callback', async () => {
    await submitted('req-1')
    await hear(receipt('delivered'))
    expect(await take()).toEqual([])
    expect(await redis.keys('wa:{2}:p*')).toEqual([])
  })

  test('also that it was cancelled', async () => {
    const id = await accepted({ callback })
    await ledger.endWaiting(id, 'cancelled')
    expect(await take()).toMatchObject([{ state: 'cancelled' }])
    expect(await redis.ttl(`wa:{2}:y:${id.text.slice(4)}`)).toBeGreaterThan(6 * 86_400)
  })
})
