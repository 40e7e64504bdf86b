import { expect, it } from 'vitest'
import { seededRandom } from '../faults/random.ts'
import { fastestSecond } from '../records/summary.ts'
import { rateGate } from './rate-limit.ts'

/** What passes of arrivals at uneven times, 200 a second on average. */
function admitted(limit: Parameters<typeof rateGate>[0]): number[] {
  const gate = rateGate(limit)
  const random = seededRandom(3)
  const times: number[] = []
  for (let atMs = 0; atMs < 20_000; atMs += random() * 10) if (gate(atMs)) times.push(atMs)
  return times
}

it('a sliding window lets its limit through in every second, and never more in any', () => {
  const times = admitted({ perSecond: 10, window: 'sliding' })
  expect(fastestSecond(times)).toBe(10)
  expect(times.length).toBeGreaterThan(190)
})

it('a token bucket lets its burst through at once and its rate after that', () => {
  const times = admitted({ perSecond: 10, window: 'token', burst: 30 })
  expect(times.filter((time) => time < 1000).length).toBeGreaterThanOrEqual(30)
  expect(Math.abs(times.length - 230)).toBeLessThan(5)
})
