import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Entry, RecordStore } from './records/store.ts'
import { fastestSecond, summarise } from './records/summary.ts'
import { type Running, samples, startSimulator } from './testing/harness.ts'

let simulator: Running
beforeAll(async () => {
  simulator = await startSimulator({ file: { detailedRequests: 50 } })
})
afterAll(() => simulator.close())
beforeEach(() => simulator.control('POST', '/reset', {}))

it('a request is remembered as it came and as it was answered', async () => {
  const before = Date.now()
  const response = await simulator.send(samples.kaleyraReaction)
  const answered = (await response.json()) as { data: { message_id: string } }
  const { items, next } = await simulator.control('GET', '/requests')
  expect(next).toBeNull()
  expect(items).toEqual([
    {
      seq: expect.any(Number),
      atMs: expect.any(Number),
      at: expect.stringMatching(/^\d{4}-.*Z$/),
      provider: 'kaleyra',
      account: '919000000000',
      recipient: '919876543210',
      type: 'reaction',
      accepted: true,
      requestId: answered.data.message_id,
      reference: 'customer1',
      method: 'POST',
      path: samples.kaleyraReaction.path,
      headers: expect.objectContaining({
        'api-key': 'Axxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx3',
        'content-type': 'application/json',
      }),
      body: samples.kaleyraReaction.body,
      rawBody: JSON.stringify(samples.kaleyraReaction.body),
      answer: { status: 202, code: 'WA202', headers: {}, body: answered },
      fault: null,
      reason: null,
    },
  ])
  expect(items[0].atMs).toBeGreaterThan(before - 1000)
  expect(items[0].atMs).toBeLessThan(Date.now() + 1000)
})

it('a refused request says why, and for whom it was', async () => {
  await simulator.send(samples.kaleyraReaction, { surprise: 1 })
  await simulator.send(samples.zixflowReaction, {}, { 'x-api-key': '' })
  const { items } = await simulator.control('GET', '/requests')
  expect(items).toMatchObject([
    { accepted: false, reason: 'surprise is not allowed', recipient: '919876543210', reference: 'customer1' },
    { accepted: false, recipient: '919876543210', reference: 'msg_1', answer: { status: 401 } },
  ])
})

it('a truncated echo is remembered as Kaleyra would send it back', async () => {
  await simulator.send(samples.kaleyraReaction, { extra_info: { ref: 'x'.repeat(300) } })
  expect((await simulator.control('GET', '/requests')).items[0].reference).toBe('x'.repeat(255))
})

describe('filters, pages and streams', () => {
  beforeEach(async () => {
    for (let index = 0; index < 5; index++) {
      await simulator.send(samples.gupshupReaction, { to: `91987654321${index}` })
    }
    await simulator.send(samples.zixflowReaction)
    await simulator.send(samples.kaleyraReaction, { surprise: 1 })
  })

  it.each([
    ['provider=gupshup', 5],
    ['account=phone-1', 1],
    ['recipient=919876543210', 3],
    ['accepted=false', 1],
    ['accepted=true&type=reaction', 6],
    ['code=WA400', 1],
    ['reference=msg_1', 1],
    ['recipient=15550000000', 0],
  ])('%s', async (query, count) => {
    expect((await simulator.control('GET', `/requests?${query}`)).items).toHaveLength(count)
  })

  it('pages cover everything once', async () => {
    const seen: number[] = []
    let after = '0'
    for (;;) {
      const page = await simulator.control('GET', `/requests?limit=3&after=${after}`)
      seen.push(...page.items.map((item: { seq: number }) => item.seq))
      if (page.next === null) break
      after = page.next
    }
    expect(seen).toHaveLength(7)
    expect(new Set(seen).size).toBe(7)
  })

  it('a stream has one line a request', async () => {
    const response = await fetch(`${simulator.url}/simulator/requests?provider=gupshup`, {
      headers: { accept: 'application/x-ndjson' },
    })
    expect(response.headers.get('content-type')).toContain('application/x-ndjson')
    const lines = (await response.text()).trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line).provider)).toEqual(Array(5).fill('gupshup'))
  })

  it('an unknown filter is refused rather than ignored', async () => {
    expect(await simulator.control('GET', '/requests?recipent=1')).toMatchObject({ statusCode: 400 })
  })

  it('are empty after clearing, and a cursor from before goes on working', async () => {
    const { items } = await simulator.control('GET', '/requests')
    const last = items.at(-1).seq
    await simulator.control('DELETE', '/requests')
    expect((await simulator.control('GET', '/summary')).arrived).toBe(0)
    await simulator.send(samples.gupshupReaction)
    const later = await simulator.control('GET', `/requests?after=${last}`)
    expect(later.items).toHaveLength(1)
  })
})

it('only the newest requests keep headers and bodies', async () => {
  for (let index = 0; index < 60; index++) await simulator.send(samples.gupshupReaction)
  const { items } = await simulator.control('GET', '/requests?limit=1000')
  expect(items.filter((item: object) => 'headers' in item)).toHaveLength(50)
  expect(items[0]).toMatchObject({ accepted: true, requestId: expect.any(String) })
})

describe('the summary', () => {
  it('counts accepted duplicates by content and by echo', async () => {
    await simulator.send(samples.zixflowButtons)
    await simulator.send(samples.zixflowButtons)
    await simulator.send(samples.zixflowButtons, { post_back_data: 'msg_2' })
    await simulator.send(samples.zixflowButtons, { recipient: '15550001111', post_back_data: 'msg_3' })
    await simulator.send(samples.zixflowReaction, { recipient: '15550001111', post_back_data: 'msg_3' })
    await simulator.send(samples.zixflowButtons, { surprise: 1 })
    const { arrived, accepted, duplicates } = await simulator.control('GET', '/summary')
    expect({ arrived, accepted }).toEqual({ arrived: 6, accepted: 5 })
    expect(duplicates.sameContent).toMatchObject({ messages: 1, extra: 2, byType: { interactive: 1 } })
    expect(duplicates.sameContent.examples).toEqual([
      { firstSeq: expect.any(Number), times: 3, recipient: '919876543210', reference: 'msg_1' },
    ])
    expect(duplicates.sameReference).toMatchObject({ messages: 2, extra: 2 })
  })

  it('counts per account and code', async () => {
    await simulator.send(samples.kaleyraReaction)
    await simulator.send(samples.kaleyraReaction, { surprise: 1 })
    await simulator.send(samples.gupshupReaction)
    const { accounts } = await simulator.control('GET', '/summary')
    expect(accounts).toMatchObject([
      {
        provider: 'kaleyra',
        account: '919000000000',
        arrived: 2,
        accepted: 1,
        byCode: { WA202: 1, WA400: 1 },
      },
      { provider: 'gupshup', arrived: 1, accepted: 1, maxAcceptedPerSecond: 1 },
    ])
  })

  it('finds the fastest second wherever it begins', () => {
    expect(fastestSecond([])).toBe(0)
    expect(fastestSecond([0, 1000, 2000])).toBe(1)
    expect(fastestSecond([0, 900, 950, 999.9, 1899, 1899.5, 1900])).toBe(5)
    expect(fastestSecond([1900, 0, 999])).toBe(2)
  })
})

describe('memory', () => {
  const entry = (index: number): Entry => ({
    atMs: index,
    provider: 'gupshup',
    account: 'app',
    recipient: String(index),
    type: 'reaction',
    accepted: true,
    requestId: `id-${index}`,
    reference: null,
    fingerprint: index,
    status: 200,
    code: '200',
    detail: {
      method: 'POST',
      path: '/',
      rawHeaders: [],
      body: null,
      answerBody: null,
      answerHeaders: undefined,
      rule: undefined,
      reason: undefined,
    },
  })

  it('is bounded: the oldest records go, the totals stay', () => {
    const store = new RecordStore(10_000, 100)
    for (let index = 1; index <= 50_000; index++) store.add(entry(index))
    const summary = summarise(store)
    expect(summary.arrived).toBe(50_000)
    expect(summary.kept).toBeGreaterThanOrEqual(10_000)
    expect(summary.kept).toBeLessThan(20_000)
    expect(store.get(1)).toBeUndefined()
    expect(store.get(store.firstSeq)).toMatchObject({ recipient: String(store.firstSeq), detail: undefined })
    expect(store.get(50_000)).toMatchObject({ requestId: 'id-50000', detail: { method: 'POST' } })
    expect(store.get(50_001)).toBeUndefined()
  })

  it('is not opened up by endless account names', () => {
    const store = new RecordStore(100, 0)
    for (let index = 1; index <= 12_000; index++) store.add({ ...entry(index), account: `app-${index}` })
    expect(store.totals.length).toBeLessThan(10_010)
    expect(store.totals.reduce((sum, { arrived }) => sum + arrived, 0)).toBe(12_000)
  })
})
