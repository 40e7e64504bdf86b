/** What campaigns promise on top of Redis, before any worker: rows in, messages out, states, counts, memory and time. */
import {
  type CampaignDefinition,
  type CampaignId,
  type CampaignRow,
  Campaigns,
  CHUNK_ROWS,
  createMessageId,
  Ledger,
  type MessageId,
  type Settlement,
} from '@wa-dispatch/dispatch'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'
import { replyButtons } from './stack.ts'

const onEnd = endings()
const account = 'kaleyra-in'
let redis: Redis
let ledger: Ledger
let campaigns: Campaigns
let now = 0

beforeAll(async () => {
  redis = new Redis((await useRedis(onEnd)).url)
})
afterAll(() => redis?.disconnect())

beforeEach(async () => {
  await redis.flushall()
  now = 1_790_000_000_000
  ledger = new Ledger({ redis, retentionDays: 7, clock: () => now })
  await ledger.open([account])
  campaigns = new Campaigns({ redis, ledger, retentionDays: 7 })
})

const create = (extra: Partial<CampaignDefinition> = {}) =>
  campaigns.create({
    name: 'autumn',
    account,
    message: replyButtons('Hello {{name}}'),
    priority: 'bulk',
    weight: 1,
    ...extra,
  })

const row = (line: number, to: number = 919_000_000_000 + line): CampaignRow => ({
  line,
  to: String(to),
  values: [`name ${line % 1_000}`],
})
const rows = (from: number, count: number) => Array.from({ length: count }, (_, index) => row(from + index))

async function store(
  id: CampaignId,
  chunk: CampaignRow[],
  { key, ordinal = 0, refused = [] as [string, number][] }: Partial<StoreOptions> = {},
) {
  return campaigns.store(id, { key }, ordinal, campaigns.pack(chunk, new Map(refused)))
}
interface StoreOptions {
  key: string
  ordinal: number
  refused: [string, number][]
}

/** A campaign of so many rows, stored as an upload is: packed ahead, stored in order. */
async function upload(id: CampaignId, count: number): Promise<void> {
  const TOGETHER = 16 * CHUNK_ROWS
  for (let from = 1; from <= count; from += TOGETHER) {
    const ends = Math.min(count + 1, from + TOGETHER)
    const packed = []
    for (let first = from; first < ends; first += CHUNK_ROWS)
      packed.push(campaigns.pack(rows(first, Math.min(CHUNK_ROWS, ends - first)), new Map()))
    await Promise.all((await Promise.all(packed)).map((some, at) => campaigns.store(id, {}, at, some)))
  }
}

/** As the feeder does it, without a lane. @returns the messages' ids, or undefined when nothing was done */
async function feed(
  id: CampaignId,
  chunkNumber = 0,
  extra: { cursor?: number; expiresAt?: number } = {},
): Promise<MessageId[] | undefined> {
  const chunk = (await campaigns.chunk(id, chunkNumber))!
  const messages = chunk.rows.flatMap((row, index) => {
    if (!row) return []
    const message = { id: campaigns.messageId(id, chunk, index), to: row.to, content: '{"message":{}}' }
    return { ...message, idempotent: false, campaign: id.number, expiresAt: extra.expiresAt }
  })
  const { cursor = chunkNumber * CHUNK_ROWS } = extra
  const accepted = await ledger.feed(account, id.number, messages, cursor, (chunkNumber + 1) * CHUNK_ROWS)
  return accepted && messages.map(({ id }) => id)
}

const failed: Settlement = {
  attempt: 1,
  outcome: 'rejected',
  code: 'E110',
  durationMs: 5,
  state: 'failed',
  counts: true,
  error: { code: 'E110', kind: 'balance', message: 'low', at: 'submit' },
}
const submitted = (requestId: string): Settlement => ({
  attempt: 1,
  outcome: 'accepted',
  code: 'WA202',
  durationMs: 84,
  state: 'submitted',
  counts: true,
  requestId,
})
const retrying: Settlement = { ...failed, outcome: 'unavailable', state: 'retrying', inMs: 60_000 }

const claim = (id: MessageId, generation = 0) => ledger.claim(id, generation, 10_000, 'token')
async function settle(ids: MessageId[], settlementOf: (index: number) => Settlement): Promise<void> {
  await Promise.all(
    ids.map(async (id, index) => {
      expect((await claim(id)).kind).toBe('claimed')
      await ledger.settle(id, settlementOf(index))
    }),
  )
}

async function counts(id: CampaignId) {
  const { counts, total } = (await campaigns.read(id))!
  expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(total)
  return counts
}

/**
 * Runs what is asked. @returns how long its commands took that took more than a millisecond, the longest first, in
 * milliseconds. On a busy machine a command may be long because Redis itself had to wait.
 */
async function slowOnes(run: () => Promise<void>): Promise<number[]> {
  await redis.config('SET', 'slowlog-log-slower-than', '1000')
  await redis.config('SET', 'slowlog-max-len', '10000')
  await redis.slowlog('RESET')
  await run()
  const entries = (await redis.slowlog('GET', 10_000)) as [number, number, number, string[]][]
  return entries.map(([, , microseconds]) => microseconds / 1_000).sort((a, b) => b - a)
}

describe('rows', () => {
  test('of a recipient that is there already are duplicates: within a chunk, across chunks and uploads', async () => {
    const id = await create()
    const twice = [row(1), row(2), row(3, 919_000_000_001)]
    expect(await store(id, twice)).toEqual({ kind: 'stored', accepted: 2, duplicates: 1 })
    expect(await store(id, [row(4), row(5, 919_000_000_002)], { ordinal: 1 })).toMatchObject({
      accepted: 1,
      duplicates: 1,
    })
    expect(await store(id, twice, { key: 'another upload' })).toMatchObject({ accepted: 0, duplicates: 3 })
    expect(await campaigns.read(id)).toMatchObject({
      total: 3,
      duplicates: 5,
      counts: { queued: 3 },
      chunks: 2,
    })
    const there = await campaigns.has(id, ['919000000001', '919000000004', '919000000009'])
    expect(there).toEqual([true, true, false])
  })

  test('may be there in another campaign too', async () => {
    await store(await create(), rows(1, 5))
    expect(await store(await create(), rows(1, 5))).toMatchObject({ accepted: 5, duplicates: 0 })
  })

  test('sent again under their upload’s key get the same answer, and nothing is counted twice', async () => {
    const id = await create()
    const chunk = [...rows(1, 20), row(21, 919_000_000_001)]
    const refused: [string, number][] = [['to: not a number', 2]]
    const first = await store(id, chunk, { key: 'upload', refused })
    const before = await campaigns.read(id)
    expect(first).toEqual({ kind: 'stored', accepted: 20, duplicates: 1 })
    expect(await store(id, chunk, { key: 'upload', refused })).toEqual({ ...first, kind: 'again' })
    expect(await campaigns.read(id)).toEqual(before)
    expect(await campaigns.refusals(id)).toEqual({ 'to: not a number': 2 })
  })

  test('other than before under the same key are a conflict, also other refusals or more rows after the end', async () => {
    const id = await create()
    await store(id, rows(1, 20), { key: 'upload' })
    const before = await campaigns.read(id)
    expect(await store(id, rows(2, 20), { key: 'upload' })).toEqual({ kind: 'conflict' })
    expect(await store(id, rows(1, 20), { key: 'upload', refused: [['x', 1]] })).toEqual({ kind: 'conflict' })
    await campaigns.completeUpload(id, 'upload', 1, { accepted: 20 })
    expect(await campaigns.uploaded(id, 'upload')).toEqual({ chunks: 1, answer: { accepted: 20 } })
    expect(await store(id, rows(30, 5), { key: 'upload', ordinal: 1 })).toEqual({ kind: 'conflict' })
    expect(await campaigns.read(id)).toEqual(before)
  })

  test('that were refused are counted by reason, and accepted, refused and duplicate ones add up to those read', async () => {
    const id = await create()
    const refused: [string, number][] = [
      ['to: missing', 7],
      ['variables.name: is missing', 3],
    ]
    await store(id, [...rows(1, 10), row(11, 919_000_000_003)], { refused })
    await store(id, [], { ordinal: 1, refused: [['to: missing', 1]] })
    expect(await campaigns.refusals(id)).toEqual({ 'to: missing': 8, 'variables.name: is missing': 3 })
    const { total, rejected, duplicates } = (await campaigns.read(id))!
    expect([total, rejected, duplicates]).toEqual([10, 11, 1])
  })

  test('are taken while a campaign is a draft, scheduled, running or paused, and not once it is over', async () => {
    const id = await create({ sendAt: now + 60_000 })
    const next = (line: number) => store(id, [row(line)])
    const taken = { kind: 'stored', accepted: 1, duplicates: 0 }
    expect(await next(1)).toEqual(taken)
    expect(await campaigns.act(id, 'start')).toEqual({ result: 'done', state: 'scheduled' })
    expect(await next(2)).toEqual(taken)
    now += 60_000
    expect(await campaigns.act(id, 'due')).toEqual({ result: 'done', state: 'running' })
    expect(await next(3)).toEqual(taken)
    await campaigns.act(id, 'pause')
    expect(await next(4)).toEqual(taken)
    await campaigns.act(id, 'cancel')
    expect(await next(5)).toEqual({ kind: 'closed', state: 'cancelled' })
    expect(await counts(id)).toEqual({ cancelled: 4 })
    expect(await store({ ...id, salt: id.salt ^ 1 }, [row(6)])).toEqual({ kind: 'unknown' })
  })

  test('are not taken by a campaign that was finished once, also while a retry has it running again', async () => {
    const id = await create()
    await store(id, rows(1, 2))
    await campaigns.act(id, 'start')
    await settle((await feed(id))!, () => failed)
    expect(await campaigns.act(id, 'finish')).toEqual({ result: 'done', state: 'finished' })
    expect(await store(id, rows(3, 2))).toEqual({ kind: 'closed', state: 'finished' })
    await campaigns.act(id, 'retry')
    expect(await store(id, rows(3, 2))).toEqual({ kind: 'closed', state: 'running' })
  })

  test.each([
    ['', 0],
    [' also after four billion messages of the account', 2 ** 32],
  ])('are found by their messages’ ids, and duplicates are nobody’s,%s', async (_when, before) => {
    await redis.set(ledger.keysOf(account).sequence, before)
    const first = await create()
    const second = await create({ name: 'winter' })
    await store(first, rows(1, 20))
    await store(second, [...rows(1, 3), row(4, 919_000_000_001), row(5)])
    await store(first, [row(21), row(22, 919_000_000_001)], { ordinal: 1 })
    for (const [id, number, expected] of [
      [first, 0, rows(1, 20)],
      [first, 1, [row(21), undefined]],
      [second, 0, [...rows(1, 3), undefined, row(5)]],
    ] as const) {
      const chunk = (await campaigns.chunk(id, number))!
      expect(chunk.rows).toEqual(expected)
      for (const [index, there] of expected.entries()) {
        const found = await campaigns.findRow(campaigns.messageId(id, chunk, index))
        if (!there) expect(found).toBeUndefined()
        else expect(found).toMatchObject({ campaign: { id }, index, chunk: { number } })
      }
      const beyond = createMessageId(id.account, chunk.first + expected.length, id.salt)
      expect(await campaigns.findRow(beyond)).toBeUndefined()
    }
    const [single] = await ledger.createIds(account, 1)
    expect(await campaigns.findRow(single!)).toBeUndefined()
    await campaigns.act(first, 'start')
    const ids = (await feed(first))!
    expect((await ledger.read(ids[3]!))?.to).toBe('919000000004')
  })
})

describe('states', () => {
  test('follow what was asked, and what does not fit is refused', async () => {
    const id = await create()
    expect(await campaigns.act(id, 'start')).toEqual({ result: 'empty', state: 'draft' })
    await store(id, rows(1, 3))
    for (const action of ['pause', 'resume', 'retry', 'due', 'expire', 'finish'] as const)
      expect(await campaigns.act(id, action), action).toEqual({ result: 'refused', state: 'draft' })
    await campaigns.act(id, 'start')
    for (const action of ['start', 'resume', 'due', 'expire', 'finish'] as const)
      expect(await campaigns.act(id, action), action).toEqual({ result: 'refused', state: 'running' })
    await campaigns.act(id, 'cancel')
    for (const action of ['start', 'pause', 'resume', 'cancel', 'retry', 'due', 'expire'] as const)
      expect(await campaigns.act(id, action), action).toEqual({ result: 'refused', state: 'cancelled' })
    const unknown = { ...id, salt: id.salt ^ 1 }
    expect(await campaigns.act(unknown, 'start')).toEqual({ result: 'unknown', state: undefined })
  })

  test('start does nothing after expires_at, and resume leads back to waiting for send_at', async () => {
    const over = await create({ expiresAt: now })
    await store(over, rows(1, 1))
    expect(await campaigns.act(over, 'start')).toEqual({ result: 'over', state: 'draft' })
    const early = await create({ sendAt: now + 1_000 })
    await store(early, rows(1, 1))
    await campaigns.act(early, 'start')
    await campaigns.act(early, 'pause')
    expect(await campaigns.act(early, 'resume')).toEqual({ result: 'done', state: 'scheduled' })
    expect(await campaigns.act(early, 'due')).toEqual({ result: 'refused', state: 'scheduled' })
    expect(await feed(early)).toBeUndefined()
  })

  test('expire ends what is no message yet, and a campaign that waits for nothing is finished', async () => {
    const id = await create({ expiresAt: now + 1_000 })
    await store(id, rows(1, CHUNK_ROWS))
    await store(id, rows(CHUNK_ROWS + 1, 8), { ordinal: 1 })
    await campaigns.act(id, 'start')
    const ids = (await feed(id, 0, { expiresAt: now + 1_000 }))!
    expect(await campaigns.act(id, 'expire')).toMatchObject({ result: 'refused' })
    now += 1_000
    expect(await campaigns.act(id, 'expire')).toMatchObject({ result: 'done' })
    expect(await campaigns.act(id, 'expire')).toMatchObject({ result: 'refused' })
    expect(await counts(id)).toEqual({ queued: CHUNK_ROWS, expired: 8 })
    expect(await feed(id, 1)).toBeUndefined()
    expect(await store(id, rows(9_000, 1))).toEqual({ kind: 'closed', state: 'running' })
    expect(await campaigns.act(id, 'finish')).toMatchObject({ result: 'refused' })
    for (const one of ids) expect(await claim(one)).toEqual({ kind: 'expired' })
    expect(await counts(id)).toEqual({ expired: CHUNK_ROWS + 8 })
    expect(await campaigns.act(id, 'finish')).toEqual({ result: 'done', state: 'finished' })
  })
})

describe('feeding', () => {
  test('is done once for a cursor, whoever asks at once or later', async () => {
    const id = await create()
    await store(id, rows(1, 40))
    await campaigns.act(id, 'start')
    const other = new Ledger({ redis, retentionDays: 7, clock: () => now })
    await other.open([account])
    const answers = await Promise.all([feed(id), feed(id), feed(id)])
    expect(answers.filter((answer) => answer !== undefined)).toHaveLength(1)
    expect(await feed(id)).toBeUndefined()
    expect(await campaigns.read(id)).toMatchObject({ fed: 40, cursor: CHUNK_ROWS, counts: { queued: 40 } })
    expect(await redis.zcard(campaigns.waitingKey(id))).toBe(40)
    expect((await other.depths(account)).waiting).toBe(0)
  })

  test('passes over duplicates to the end of a chunk', async () => {
    const id = await create()
    await store(id, [row(1), row(2, 919_000_000_001), row(3, 919_000_000_001)])
    await campaigns.act(id, 'start')
    expect(await ledger.feed(account, id.number, [], 0, 1)).toEqual([])
    expect(await campaigns.read(id)).toMatchObject({ fed: 0, cursor: 1 })
  })

  test.each([
    ['paused', async (id: CampaignId) => void (await campaigns.act(id, 'pause'))],
    ['cancelled', async (id: CampaignId) => void (await campaigns.act(id, 'cancel'))],
    [
      'expired',
      async (id: CampaignId) => {
        now += 1_000
        await campaigns.act(id, 'expire')
      },
    ],
  ])('a campaign that is %s makes no messages', async (_state, end) => {
    const id = await create({ expiresAt: now + 1_000 })
    await store(id, rows(1, 16))
    await campaigns.act(id, 'start')
    await end(id)
    const before = await campaigns.read(id)
    expect(await feed(id)).toBeUndefined()
    expect(await campaigns.read(id)).toEqual(before)
    expect(await redis.keys('wa:{1}:b:*')).toEqual([])
    expect(await redis.keys('wa:{1}:c:*')).toEqual([])
  })
})

describe('a message of a campaign', () => {
  async function running(count: number) {
    const id = await create()
    await store(id, rows(1, count))
    await campaigns.act(id, 'start')
    return { id, ids: (await feed(id))! }
  }

  test('is parked while it is paused: nothing changes, and it goes on afterwards', async () => {
    const { id, ids } = await running(2)
    await campaigns.act(id, 'pause')
    const before = await ledger.read(ids[0]!)
    expect(await claim(ids[0]!)).toEqual({ kind: 'parked' })
    expect(await ledger.read(ids[0]!)).toEqual(before)
    expect(await counts(id)).toEqual({ queued: 2 })
    await campaigns.act(id, 'resume')
    expect((await claim(ids[0]!)).kind).toBe('claimed')
    expect(await counts(id)).toEqual({ queued: 1, sending: 1 })
  })

  test('ends at its claim, or at the retry that it would wait for, when it is cancelled', async () => {
    const { id, ids } = await running(3)
    await claim(ids[0]!)
    await claim(ids[1]!)
    await campaigns.act(id, 'cancel')
    expect(await claim(ids[2]!)).toEqual({ kind: 'stale', state: 'cancelled' })
    expect(await ledger.content(ids[2]!)).toBeNull()
    expect(await counts(id)).toEqual({ sending: 2, cancelled: 1 })
    expect(await campaigns.act(id, 'finish')).toMatchObject({ result: 'refused' })
    expect(await ledger.settle(ids[0]!, retrying)).toMatchObject({ settled: true, state: 'cancelled' })
    expect((await ledger.read(ids[0]!))?.error?.code).toBe('E110')
    expect(await ledger.settle(ids[1]!, submitted('r'))).toMatchObject({ state: 'submitted' })
    expect(await counts(id)).toEqual({ cancelled: 2, submitted: 1 })
    expect(await campaigns.act(id, 'finish')).toEqual({ result: 'done', state: 'cancelled' })
  })

  test('is reopened when it failed and the campaign runs, and in no other case', async () => {
    const { id, ids } = await running(4)
    const reopen = () =>
      ledger.reopen(
        account,
        ids.map((id) => ({ id, content: '{"again":true}' })),
      )
    await claim(ids[0]!)
    await settle(ids.slice(1, 3), (index) => (index === 0 ? failed : submitted('r')))
    await campaigns.act(id, 'pause')
    expect(await reopen()).toEqual([undefined, undefined, undefined, undefined])
    await campaigns.act(id, 'resume')
    expect(await reopen()).toEqual([undefined, 1, undefined, undefined])
    expect(await reopen()).toEqual([undefined, undefined, undefined, undefined])
    expect(await counts(id)).toEqual({ sending: 1, queued: 2, submitted: 1 })
    const again = await ledger.read(ids[1]!)
    expect(again).toMatchObject({ state: 'queued', generation: 1 })
    expect(again).not.toHaveProperty('error')
    expect(await claim(ids[1]!, 0)).toEqual({ kind: 'stale', state: 'queued' })
    const { kind, ...told } = await claim(ids[1]!, 1)
    expect({ kind, ...told }).toMatchObject({
      kind: 'claimed',
      attempt: 2,
      tries: 0,
      content: '{"again":true}',
    })
  })

  test('that was reopened is not failed again by its old refusal, written down a second time', async () => {
    const { id, ids } = await running(1)
    await settle(ids, () => failed)
    expect(await ledger.reopen(account, [{ id: ids[0]!, content: '{}' }])).toEqual([1])
    expect(await ledger.settle(ids[0]!, failed)).toEqual({ settled: false, state: 'queued' })
    expect((await claim(ids[0]!, 1)).kind).toBe('claimed')
    expect(await counts(id)).toEqual({ sending: 1 })
  })

  test('that is uncertain when its campaign is cancelled ends there, also when somebody would have it sent again', async () => {
    const { id, ids } = await running(1)
    const uncertain: Settlement = { ...failed, outcome: 'uncertain', state: 'uncertain', inMs: 60_000 }
    await settle(ids, () => uncertain)
    await campaigns.act(id, 'cancel')
    expect(await campaigns.act(id, 'finish')).toMatchObject({ result: 'refused' })
    expect(await ledger.resolve(ids[0]!, 'resend', false)).toMatchObject({
      changed: true,
      state: 'cancelled',
    })
    expect(await counts(id)).toEqual({ cancelled: 1 })
    expect(await campaigns.act(id, 'finish')).toEqual({ result: 'done', state: 'cancelled' })
  })

  test('of two campaigns and of none, settled together, each is counted where it belongs', async () => {
    const one = await running(16)
    const two = await running(16)
    const singles = await ledger.createIds(account, 3)
    await ledger.accept(
      account,
      singles.map((id) => ({ id, to: '919876543210', content: '{}', idempotent: false })),
    )
    await settle([...one.ids, ...singles, ...two.ids.slice(0, 5)], (index) =>
      index % 2 ? failed : submitted(`r${index}`),
    )
    expect(await counts(one.id)).toEqual({ submitted: 8, failed: 8 })
    const { queued, submitted: well = 0, failed: badly = 0 } = await counts(two.id)
    expect([queued, well + badly]).toEqual([11, 5])
    expect(await ledger.depths(account)).toEqual({ waiting: 0, sending: 0, uncertain: 0 })
    // A campaign's records stay until the campaign is over; the account's own have their retention at once.
    const ttlOf = (id: MessageId) =>
      redis.ttl(
        `wa:{1}:b:${Math.floor(id.sequence / 16)
          .toString(16)
          .padStart(9, '0')}`,
      )
    expect(await ttlOf(one.ids[0]!)).toBe(-1)
    expect(await ttlOf(singles[0]!)).toBeGreaterThan(0)
  })
})

describe('retention', () => {
  test('does not begin for a campaign whose retry was asked for a moment before', async () => {
    const id = await create()
    await store(id, rows(1, 3), { refused: [['to: missing', 1]] })
    await campaigns.act(id, 'start')
    await settle((await feed(id))!, () => failed)
    await campaigns.act(id, 'finish')
    await campaigns.act(id, 'retry')
    await campaigns.retire(id)
    expect(await campaigns.active(account)).toEqual([id.number])
    for (const key of await redis.keys(`wa:{1}:k:${id.number}*`)) expect(await redis.ttl(key), key).toBe(-1)
  })
})

describe('a large campaign', () => {
  test('of 100,000 rows costs at most 60 bytes a stored row; with records, attempts and request ids 250', async () => {
    const used = async () => Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
    const count = 100_000
    const id = await create()
    const before = await used()
    await upload(id, count)
    const stored = ((await used()) - before) / count
    console.log(`a stored row costs ${stored.toFixed(0)} bytes`)
    expect(stored).toBeLessThan(60)
    for (const key of ['d:0', 'd:4711', 'd:16383'])
      expect(await redis.object('ENCODING', `wa:{1}:k:${id.number}:${key}`), key).toBe('intset')

    await campaigns.act(id, 'start')
    let last: MessageId | undefined
    for (let number = 0; number * CHUNK_ROWS < count; number++) {
      const ids = (await feed(id, number))!
      await Promise.all(
        ids.map(async (id) => {
          const taken = claim(id)
          const written = ledger.settle(id, submitted(crypto.randomUUID()))
          await Promise.all([taken, written])
        }),
      )
      last = ids.at(-1)
    }
    expect(await counts(id)).toEqual({ submitted: count })
    const bucket = `wa:{1}:b:${Math.floor(last!.sequence / 16)
      .toString(16)
      .padStart(9, '0')}`
    expect(['listpack', 'ziplist']).toContain(await redis.object('ENCODING', bucket))
    expect(await campaigns.act(id, 'finish')).toMatchObject({ state: 'finished' })
    const finished = ((await used()) - before) / count
    console.log(`a finished campaign row, its attempt and its request id cost ${finished.toFixed(0)} bytes`)
    expect(finished).toBeLessThan(250)
  }, 120_000)

  test('of a million rows is stored, paused and cancelled with short commands', {
    retry: 1,
    timeout: 120_000,
  }, async () => {
    const id = await create()
    let countsAfter: object = {}
    const storing = await slowOnes(() => upload(id, 1_000_000))
    const controlling = await slowOnes(async () => {
      await campaigns.act(id, 'start')
      await feed(id)
      await campaigns.act(id, 'pause')
      await campaigns.act(id, 'resume')
      await campaigns.act(id, 'cancel')
      countsAfter = await counts(id)
    })
    expect(countsAfter).toEqual({ queued: CHUNK_ROWS, cancelled: 1_000_000 - CHUNK_ROWS })
    const half = storing[Math.floor(1_000_000 / CHUNK_ROWS / 2)] ?? 0
    const longest = controlling[0] ?? 0
    console.log(
      `the longest command: ${storing[0] ?? 0} ms to store (one in two: ${half}), ${longest} ms to control`,
    )
    // Undisturbed it is 5 ms at most; a command that walks a million rows takes hundreds.
    expect(half).toBeLessThan(20)
    expect(longest).toBeLessThan(60)
  })
})
