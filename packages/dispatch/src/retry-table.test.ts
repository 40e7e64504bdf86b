import { describe, expect, test } from 'vitest'
import { type AttemptContext, decide, decideNotSent, MAXIMUM_REST_MS } from './retry-table.ts'

const rules = { retry: { unavailable: { delaysMs: [300_000, 600_000, 900_000] } }, uncertainWindowMs: 60_000 }
const context = (extra: Partial<AttemptContext> = {}): AttemptContext => ({
  attempt: 1,
  tries: 0,
  idempotent: false,
  durationMs: 12,
  random: 0,
  ...extra,
})
const unavailable = { outcome: 'unavailable', code: 'WA500', message: 'Please try again later' } as const
const throttled = { outcome: 'throttled', code: 'HTTP_429', message: 'Too Many Requests' } as const
const uncertain = { outcome: 'uncertain', code: 'ETIMEDOUT', message: 'no answer', answered: false } as const
const of = (...args: Parameters<typeof decide>) => decide(...args).settlement

describe('unavailable', () => {
  test.each([
    [0, 300_000],
    [1, 600_000],
    [2, 900_000],
  ])('after %i tries waits as long as the account says', (tries, waitMs) => {
    expect(of(unavailable, rules, context({ tries }))).toMatchObject({
      state: 'retrying',
      inMs: waitMs,
      counts: true,
    })
  })

  test('fails with its code when the tries are used up', () => {
    const settlement = of(unavailable, rules, context({ tries: 3, attempt: 4 }))
    expect(settlement).toMatchObject({
      state: 'failed',
      error: { code: 'WA500', kind: 'unavailable', at: 'submit' },
    })
  })

  test('never waits less than it was told, and at most a tenth more, so that retries spread', () => {
    const waitMs = (random: number) => of(unavailable, rules, context({ random })).inMs
    expect(waitMs(0)).toBe(300_000)
    expect(waitMs(0.999)).toBeGreaterThan(329_000)
    expect(waitMs(0.999)).toBeLessThanOrEqual(330_000)
  })

  test('honours a longer Retry-After', () => {
    expect(of({ ...unavailable, retryAfterMs: 1_000_000 }, rules, context()).inMs).toBe(1_000_000)
    expect(of({ ...unavailable, retryAfterMs: 1_000 }, rules, context()).inMs).toBe(300_000)
  })
})

describe('throttled', () => {
  test.each([
    ['as long as Retry-After says', 7_000, 0, 7_000],
    ['a second where it says nothing', undefined, 0, 1_000],
    ['a second where it says that the time is over', 0, 0, 1_000],
    ['twice as long each time', undefined, 3, 8_000],
    ['a minute at the most by itself', undefined, 49, 60_000],
    ['an hour at the most, whatever a provider says', 10 ** 12, 0, MAXIMUM_REST_MS],
  ])('rests the lane %s', (_name, retryAfterMs, throttledBefore, restMs) => {
    const outcome = { ...throttled, ...(retryAfterMs !== undefined && { retryAfterMs }) }
    // Tries that ended otherwise make no difference.
    for (const tries of [0, 3]) {
      const decision = decide(outcome, rules, context({ attempt: tries + throttledBefore + 1, tries }))
      const settlement = { state: 'queued', inMs: restMs, counts: false }
      expect(decision).toMatchObject({ throttled: { scope: 'account', restMs }, settlement })
    }
  })
})

describe('uncertain', () => {
  test('is held, with the end of its window', () => {
    expect(of(uncertain, rules, context())).toMatchObject({
      state: 'uncertain',
      inMs: 60_000,
      answered: false,
    })
  })

  test('is sent again where twice is the same as once', () => {
    expect(of(uncertain, rules, context({ idempotent: true }))).toMatchObject({
      state: 'retrying',
      inMs: 300_000,
    })
    expect(of(uncertain, rules, context({ idempotent: true, tries: 3 }))).toMatchObject({
      state: 'uncertain',
    })
  })

  test('is never sent again by itself after a 2xx', () => {
    const answered = { ...uncertain, code: 'HTTP_200', answered: true }
    expect(of(answered, rules, context({ idempotent: true }))).toMatchObject({
      state: 'uncertain',
      answered: true,
    })
  })
})

test('accepted and rejected are the end', () => {
  expect(of({ outcome: 'accepted', code: 'WA202', requestId: 'A1' }, rules, context())).toMatchObject({
    state: 'submitted',
    requestId: 'A1',
  })
  const rejected = { outcome: 'rejected', kind: 'balance', code: 'E110', message: 'low' } as const
  expect(of(rejected, rules, context())).toMatchObject({
    state: 'failed',
    error: { code: 'E110', kind: 'balance' },
  })
})

test('what is known not to have been written goes back as if nothing had been tried', () => {
  expect(decideNotSent(context()).settlement).toMatchObject({ state: 'queued', inMs: 0, counts: false })
})
