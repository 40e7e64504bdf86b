import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nextTry, POST_BACK_DAY_MS, POST_BACK_DELAYS_MS } from './schedule.ts'

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

/** When each try is made, the receiver failing at once each time. */
function triesOf(randoms: number[], retryAfterMs?: number): number[] {
  const tries = [0]
  for (const value of randoms) {
    const at = tries.at(-1)!
    const next = nextTry({ tries: tries.length - 1, sinceFirstTryMs: at, retryAfterMs }, value)
    if (next === 'dead') return tries
    tries.push(at + next.inMs)
  }
  throw new Error('it never ends')
}

const randoms = fc.array(random, { minLength: 50, maxLength: 50 })

test('tries come at growing distances, the last one nearly a day after the first and never later', () => {
  fc.assert(
    fc.property(randoms, (values) => {
      const tries = triesOf(values)
      expect(tries).toHaveLength(POST_BACK_DELAYS_MS.length + 1)
      const waits = tries.slice(1).map((at, index) => at - tries[index]!)
      // The last one may be cut to what is left of the day.
      for (const [index, wait] of waits.slice(1, -1).entries()) expect(wait).toBeGreaterThan(waits[index]!)
      expect(tries.at(-1)).toBeLessThanOrEqual(POST_BACK_DAY_MS)
      expect(tries.at(-1)).toBeGreaterThan(POST_BACK_DAY_MS * 0.85)
    }),
  )
})

test('what failed together does not come back together', () => {
  const waits = [0, 0.25, 0.5, 0.75, 0.99].map((value) => nextTry({ tries: 4, sinceFirstTryMs: 0 }, value))
  expect(new Set(waits.map((next) => (next as { inMs: number }).inMs)).size).toBe(waits.length)
})

test('Retry-After is waited for where it is longer, and never beyond the day', () => {
  const first = { tries: 0, sinceFirstTryMs: 0 }
  expect(nextTry({ ...first, retryAfterMs: 90_000 }, 0.5)).toEqual({ inMs: 90_000 })
  expect(nextTry({ ...first, retryAfterMs: 10 }, 0.5)).toEqual({ inMs: POST_BACK_DELAYS_MS[0] })
  const late = { tries: 3, sinceFirstTryMs: POST_BACK_DAY_MS - 5_000 }
  expect(nextTry({ ...late, retryAfterMs: 86_400_000_000 }, 0.5)).toEqual({ inMs: 5_000 })
  fc.assert(
    fc.property(randoms, fc.integer({ min: 0, max: 1e12 }), (values, retryAfterMs) => {
      expect(triesOf(values, retryAfterMs).at(-1)).toBeLessThanOrEqual(POST_BACK_DAY_MS)
    }),
  )
})

test('after a day, or after the last try, it is dead', () => {
  expect(nextTry({ tries: 2, sinceFirstTryMs: POST_BACK_DAY_MS }, 0.5)).toBe('dead')
  expect(nextTry({ tries: POST_BACK_DELAYS_MS.length, sinceFirstTryMs: 0 }, 0.5)).toBe('dead')
})
