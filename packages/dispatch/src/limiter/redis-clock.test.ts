import { describe, expect, test } from 'vitest'
import { RedisClock } from './redis-clock.ts'

/** Redis' clock is so far ahead of this process's. */
const AHEAD_MS = 1.7e12

describe('how old an answer of Redis is', () => {
  const clock = new RedisClock()
  const answered = (toldAt: number, tookMs: number) => clock.ageOf(AHEAD_MS + toldAt, toldAt + tookMs)

  test('is not known of the first one, and then told by the quickest', () => {
    expect(answered(0, 5)).toBe(0)
    expect(answered(10, 2)).toBe(0)
    expect(answered(20, 82)).toBeCloseTo(80, 0)
    expect(answered(200, 2)).toBeCloseTo(0, 0)
  })

  test('is told also when one of the clocks is a little fast', () => {
    // A thousandth in either direction, for ten minutes.
    for (const pace of [0.999, 1.001]) {
      const drifting = new RedisClock()
      let age = 0
      for (let at = 0; at < 600_000; at += 1_000) age = drifting.ageOf(AHEAD_MS + at * pace, at + 2)
      expect(age).toBeLessThan(2)
    }
  })

  test('is told again after Redis’ clock was set, in either direction', () => {
    answered(1_000, 2)
    const back = (toldAt: number, tookMs: number) => clock.ageOf(AHEAD_MS - 60_000 + toldAt, toldAt + tookMs)
    back(2_000, 2)
    expect(back(3_000, 42)).toBeCloseTo(40, -1)
    answered(4_000, 2)
    expect(answered(5_000, 42)).toBeCloseTo(40, -1)
  })
})
