import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { useRedis } from '../../../../test/redis.ts'
import { type ReceiptEntry, ReceiptQueue } from './queue.ts'

const server = await useRedis(afterAll)
const redis = new Redis(server.url)
afterAll(() => redis.disconnect())
const queue = new ReceiptQueue(redis, { numberOf: (account) => (account === 'kaleyra-in' ? 1 : 2) })
const account = 'kaleyra-in'
const body = (number: number) => JSON.stringify({ number })
const bodiesOf = (entries: ReceiptEntry[]) => entries.flatMap(({ bodies }) => bodies)
const consumers = async () =>
  ((await redis.xinfo('CONSUMERS', 'wa:{1}:i', 'w')) as unknown[]).map((fields) => JSON.stringify(fields))

beforeEach(() => redis.flushall())

/** Everything that is there, by one consumer. */
async function takeAll(consumer: string): Promise<ReceiptEntry[]> {
  const all: ReceiptEntry[] = []
  // The first question may be the one that makes the group.
  for (let empty = 0; empty < 2; ) {
    const entries = await queue.take(account, consumer)
    all.push(...entries)
    if (entries.length === 0) empty++
  }
  return all
}

describe('receipts that were put', () => {
  it('come out in the order they arrived, each once, and with the time they did', async () => {
    const before = Date.now() - 1
    const put = Array.from({ length: 1_000 }, (_, number) => body(number))
    for (const one of put.slice(0, 10)) await queue.put(account, one)
    await Promise.all(put.slice(10).map((one) => queue.put(account, one)))
    const entries = await takeAll('a')
    expect(bodiesOf(entries)).toEqual(put)
    for (const { arrivedAt } of entries) {
      expect(arrivedAt).toBeGreaterThanOrEqual(before)
      expect(arrivedAt).toBeLessThanOrEqual(Date.now() + 1)
    }
  })

  it('come out as they were put, whatever is in them, however long', async () => {
    const put = ['{"a":"😀 \\u0000 \\ud800"}', `"${'x'.repeat(1_048_000)}"`, ' [1] ', '"ü\u2028"']
    await Promise.all(put.map((one) => queue.put(account, one)))
    expect(bodiesOf(await takeAll('a'))).toEqual(put)
  })

  it('lie together when they came together, but not too many of them', async () => {
    await Promise.all(Array.from({ length: 100 }, (_, number) => queue.put(account, body(number))))
    await Promise.all([1, 2, 3].map(() => queue.put(account, 'x'.repeat(20_000))))
    const sizes = (await takeAll('a')).map(({ bodies }) => bodies.length)
    expect(sizes).toEqual([32, 32, 32, 4, 1, 1, 1])
  })

  it('are handed out many at a time while they are short, and few while they are long', async () => {
    const asLong = async (characters: number) => {
      for (let number = 0; number < 150; number++) await queue.put(account, `"${'x'.repeat(characters)}"`)
      const counts: number[] = []
      for (let left = 150; left > 0; left -= counts.at(-1)!)
        counts.push((await queue.take(account, 'a')).length)
      return counts.filter((count) => count > 0)
    }
    expect(Math.max(...(await asLong(500)))).toBe(100)
    expect((await asLong(200_000)).at(-1)).toBe(10)
  })

  it('of another account stay there', async () => {
    await Promise.all([queue.put(account, '1'), queue.put('gupshup-main', '2')])
    expect(bodiesOf(await takeAll('a'))).toEqual(['1'])
    expect(await queue.depth('gupshup-main')).toBe(1)
  })

  it('are refused, not kept in memory, while Redis is away', async () => {
    const away = new Redis(server.url, { lazyConnect: true, enableOfflineQueue: false })
    const other = new ReceiptQueue(away, { numberOf: () => 1 })
    await expect(other.put(account, '1')).rejects.toThrow(/isn't writeable/)
    expect(await queue.depth(account)).toBe(0)
  })

  it('are shared between those who ask', async () => {
    for (let number = 0; number < 200; number++) await queue.put(account, body(number))
    await queue.take(account, 'a') // makes the group
    const [a, b] = await Promise.all([takeAll('a'), takeAll('b')])
    expect(a.length).toBeGreaterThan(0)
    expect(b.length).toBeGreaterThan(0)
    const numbers = bodiesOf([...a, ...b]).map((text) => JSON.parse(text).number)
    expect(numbers.sort((x, y) => x - y)).toEqual(Array.from({ length: 200 }, (_, number) => number))
  })
})

describe('an entry', () => {
  it('is kept until somebody is done with it', async () => {
    await queue.put(account, '1')
    const entries = await takeAll('a')
    expect(await queue.depth(account)).toBe(1)
    await queue.done(account, entries)
    expect(await queue.depth(account)).toBe(0)
    expect(await redis.xpending('wa:{1}:i', 'w')).toEqual([0, null, null, null])
    await queue.done(account, entries)
    await queue.done(account, [])
  })

  it('is taken over from a consumer that died, but not from one that is just at it', async () => {
    for (let number = 0; number < 45; number++) await queue.put(account, body(number))
    expect(await takeAll('dead')).toHaveLength(45)
    expect(await queue.takeOver(account, 'b', 60_000)).toEqual([])
    await sleep(60)
    const taken: ReceiptEntry[] = []
    for (;;) {
      const some = await queue.takeOver(account, 'b', 50)
      if (some.length === 0) break
      taken.push(...some)
      await queue.done(account, some)
    }
    expect(bodiesOf(taken)).toEqual(Array.from({ length: 45 }, (_, number) => body(number)))
    expect(await queue.depth(account)).toBe(0)
  })

  it('behind many that are in hand is found all the same', async () => {
    for (let number = 0; number < 900; number++) await queue.put(account, body(number))
    await takeAll('a')
    const ids = (await redis.xrange('wa:{1}:i', '-', '+')).map(([id]) => id)
    await sleep(60)
    // All but the last are worked on at this moment.
    await redis.xclaim('wa:{1}:i', 'w', 'a', 0, ...ids.slice(0, -1), 'JUSTID')
    await redis.xclaim('wa:{1}:i', 'w', 'a', 0, ...ids.slice(0, -1), 'IDLE', 0, 'JUSTID')
    expect(bodiesOf(await queue.takeOver(account, 'b', 50))).toEqual([body(899)])
  })
})

describe('consumers that are gone', () => {
  it('are forgotten, unless they have something in hand', async () => {
    await queue.put(account, '1')
    await takeAll('busy')
    await queue.put(account, '2')
    await queue.done(account, await takeAll('gone'))
    expect(await queue.removeConsumers(account, 60_000)).toBe(0)
    await sleep(60)
    await queue.put(account, '3')
    await queue.done(account, await takeAll('here'))
    expect(await queue.removeConsumers(account, 50)).toBe(1)
    expect(await consumers()).toEqual([expect.stringContaining('busy'), expect.stringContaining('here')])
    await queue.leave(account, 'busy')
    await queue.leave(account, 'here')
    expect(await consumers()).toEqual([expect.stringContaining('busy')])
  })

  it('are no reason to fail where there is no stream', async () => {
    expect(await queue.removeConsumers(account, 0)).toBe(0)
    await queue.leave(account, 'a')
  })
})

describe('after Redis lost its data', () => {
  it('receipts come in and out again', async () => {
    await queue.put(account, '1')
    const entries = await takeAll('a')
    await redis.flushall()
    await queue.done(account, entries)
    expect(await queue.takeOver(account, 'a', 0)).toEqual([])
    await redis.flushall()
    expect(await queue.take(account, 'a')).toEqual([])
    await queue.put(account, '2')
    expect(bodiesOf(await queue.take(account, 'a'))).toEqual(['2'])
  })
})
