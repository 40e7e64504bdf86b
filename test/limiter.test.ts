/**
 * The instants that the limiter gives to those who ask for them at the same time, by Redis' clock: what limits are made
 * of, whatever holds up this machine. What arrives is looked at in limits.test.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connectRedis, type LimitedAccount, Limiter, type Turn } from '@wa-dispatch/dispatch'
import { pino } from 'pino'
import { beforeAll, describe, expect, test } from 'vitest'
import { endings } from './endings.ts'
import { fastestSecond, paceOf } from './pace.ts'
import { useRedis } from './redis.ts'

const onEnd = endings()
const ASKERS = 4
let limiters: Limiter[]
let redis: ReturnType<typeof connectRedis>

beforeAll(async () => {
  const { url } = await useRedis(onEnd)
  limiters = Array.from({ length: ASKERS }, () => {
    redis = connectRedis(url, 'worker', pino({ level: 'silent' }))
    const connection = redis
    onEnd(async () => connection.disconnect())
    return new Limiter(redis)
  })
}, 60_000)

const limitedTo = (id: string, rateLimit: LimitedAccount['rateLimit']): LimitedAccount => ({
  id,
  rateLimit,
  timeoutMs: 1_000,
  breaker: { probeDelaysMs: [1_000] },
})

type Go = Extract<Turn, { kind: 'go' }>
interface Asking {
  forMs: number
  /** How many each of them asks for in one go. */
  together?: number
  /** Those who ask; all of them otherwise. */
  askers?: Limiter[]
  /** Told of each instant when it has come. */
  when?: (turn: Go, limiter: Limiter) => unknown
}

/** All askers ask as workers with a full lane do. @returns the instants, in order */
async function askFor(account: LimitedAccount, options: Asking): Promise<{ atMs: number }[]> {
  const { forMs, together = 5, askers = limiters, when } = options
  const end = performance.now() + forMs
  const instants: { atMs: number }[] = []
  const coming: Promise<unknown>[] = []
  await Promise.all(
    askers.map(async (limiter) => {
      while (performance.now() < end) {
        const asked = Array.from({ length: together }, () => limiter.reserve(account, '919876543210'))
        const rests = [0]
        for (const turn of await Promise.all(asked)) {
          if (turn.kind === 'rest' || turn.kind === 'shut') rests.push(turn.forMs)
          if (turn.kind !== 'go') continue
          instants.push(turn)
          if (when) coming.push(sleep(Math.max(0, turn.waitMs)).then(() => when(turn, limiter)))
        }
        await sleep(Math.min(500, Math.max(...rests)))
      }
    }),
  )
  await Promise.all(coming)
  return instants.sort((a, b) => a.atMs - b.atMs)
}

describe.concurrent('instants', () => {
  test.for([10, 80, 1_000])(
    'of %d a second never lie closer together, nor further apart',
    async (perSecond) => {
      const account = limitedTo(`at-${perSecond}`, { perSecond })
      const instants = await askFor(account, { forMs: perSecond < 50 ? 4_000 : 2_500 })
      expect(fastestSecond(instants)).toBeLessThanOrEqual(perSecond * 1.05 + 1)
      expect(paceOf(instants)).toBeGreaterThanOrEqual(perSecond * 0.97)
    },
  )

  test('of a limit that rested are not made up for', async () => {
    const account = limitedTo('rested', { perSecond: 200 })
    const before = await askFor(account, { forMs: 300 })
    await sleep(1_500)
    const all = [...before, ...(await askFor(account, { forMs: 1_200 }))]
    expect(fastestSecond(all)).toBeLessThanOrEqual(200 * 1.05 + 1)
  })

  test('that nobody took because a worker died are not given again', async () => {
    const account = limitedTo('dying', { perSecond: 100 })
    const all: { atMs: number }[] = []
    for (let survivors = ASKERS; survivors > 0; survivors--) {
      all.push(...(await askFor(account, { forMs: 500, askers: limiters.slice(0, survivors) })))
    }
    expect(fastestSecond(all)).toBeLessThanOrEqual(100 * 1.05 + 1)
  })

  test('of accounts on one credential are shared, and a slow one does not hold up a fast one', async () => {
    const shared = { name: 'one-credential', perSecond: 40 }
    const [fast, slow] = await Promise.all([
      askFor(limitedTo('fast', { perSecond: 100, shared }), { forMs: 4_000, together: 2 }),
      askFor(limitedTo('slow', { perSecond: 2, shared }), { forMs: 4_000, together: 1 }),
    ])
    const together = [...fast, ...slow].sort((a, b) => a.atMs - b.atMs)
    expect(fastestSecond(together)).toBeLessThanOrEqual(40 * 1.05 + 1)
    expect(fastestSecond(slow)).toBeLessThanOrEqual(2 * 1.05 + 1)
    expect(paceOf(together)).toBeGreaterThanOrEqual(40 * 0.97)
    expect(slow.length).toBeGreaterThanOrEqual(5)
  })

  test('of a higher limit begin at once, though those of the lower one lie far ahead', async () => {
    const account = limitedTo('changed', { perSecond: 0.2 })
    const [first] = await askFor(account, { forMs: 200 })
    await limiters[0]!.configure(account, { perSecond: 100 })
    const faster = await askFor(account, { forMs: 1_500 })
    expect(faster[0]!.atMs - first!.atMs).toBeLessThan(3_000)
    expect(paceOf(faster)).toBeGreaterThanOrEqual(97)
    expect(fastestSecond(faster)).toBeLessThanOrEqual(100 * 1.05 + 1)
  })
})

describe.concurrent('one recipient', () => {
  test('gets the burst that WhatsApp lends, and then waits for each; the others do not', async () => {
    const account = limitedTo('pairs', { perSecond: 1_000, pairPerMinute: 60 })
    const [limiter, other] = limiters as [Limiter, Limiter]
    const kinds: string[] = []
    const waits: number[] = []
    for (let count = 0; count < 60; count++) {
      const turn = await limiter.reserve(account, '919000000001')
      kinds.push(turn.kind)
      if (turn.kind === 'pair') waits.push(turn.inMs)
      // Whoever writes to somebody else is not asked to wait for them.
      expect((await other.reserve(account, `91900000${1_000 + count}`)).kind).not.toBe('pair')
    }
    const burst = kinds.indexOf('pair')
    expect(burst).toBeGreaterThanOrEqual(45)
    expect(burst).toBeLessThanOrEqual(55)
    expect(new Set(kinds.slice(burst))).toEqual(new Set(['pair']))
    // Each is told a turn of its own, a second after the one before.
    for (const [index, wait] of waits.slice(1).entries()) expect(wait - waits[index]!).toBeGreaterThan(400)
  })
})

describe.concurrent('a provider that allows half of what is configured', () => {
  test('is found out within ten seconds, and then its limit is kept and used', async () => {
    const really = 40
    const account = limitedTo('too-high', { perSecond: 80 })
    const answers: { atMs: number; refused: boolean }[] = []
    const lately: number[] = []
    /** A sliding second, which refuses too many by their instants. */
    const ask = async ({ atMs }: Go, limiter: Limiter) => {
      while (lately.length > 0 && lately[0]! <= atMs - 1_000) lately.shift()
      const refused = lately.length >= really
      answers.push({ atMs, refused })
      if (!refused) lately.push(atMs)
      else await limiter.throttled(account, 'account', '919876543210', 5, 1_000)
    }
    const instants = await askFor(account, { forMs: 18_000, when: ask })
    const settled = answers.filter(({ atMs }) => atMs > instants[0]!.atMs + 10_000)
    const refused = settled.filter((answer) => answer.refused)
    expect(answers.some((answer) => answer.refused)).toBe(true)
    expect(refused.length / settled.length).toBeLessThan(0.02)
    const { perSecond, configuredPerSecond, loweredSince } = await limiters[0]!.read(account)
    expect(perSecond).toBeGreaterThanOrEqual(really * 0.9)
    expect(perSecond).toBeLessThanOrEqual(really * 1.1)
    expect({ configuredPerSecond, loweredSince }).toEqual({
      configuredPerSecond: 80,
      loweredSince: expect.any(Number),
    })
  }, 60_000)

  test('is tried again later, little by little', async () => {
    const account = limitedTo('climbing', { perSecond: 100 })
    await limiters[0]!.throttled(account, 'account', '919876543210', 5, 0)
    const loweredBefore = async (seconds: number) => {
      const [key, at] = ['wa:l:{climbing}:a:climbing', Date.now() * 1_000 - seconds * 1e6]
      await redis.hset(key, 't', at)
      return (await limiters[0]!.read(account)).perSecond
    }
    expect(await loweredBefore(9)).toBe(70)
    const aLittle = await loweredBefore(30)
    expect(aLittle).toBeGreaterThan(70.5)
    expect(aLittle).toBeLessThan(75)
    expect(await loweredBefore(100)).toBeGreaterThan(aLittle + 5)
    expect(await loweredBefore(600)).toBe(100)
  })
})
