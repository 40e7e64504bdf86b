import { describe, expect, it } from 'vitest'
import { type Latency, latencySampler, latencySchema } from './latency.ts'
import { seededRandom } from './random.ts'

function percentiles(latency: Latency): { p50: number; p99: number; maximum: number } {
  const sample = latencySampler(latencySchema.parse(latency), seededRandom(7))
  const sorted = Array.from({ length: 20_000 }, sample).sort((a, b) => a - b)
  return { p50: sorted[10_000]!, p99: sorted[19_800]!, maximum: sorted.at(-1)! }
}

describe('the percentiles asked for are those that come', () => {
  it('lognormal', () => {
    const { p50, p99 } = percentiles({ lognormal: { p50Ms: 100, p99Ms: 900 } })
    expect(p50).toBeGreaterThan(95)
    expect(p50).toBeLessThan(105)
    expect(p99).toBeGreaterThan(800)
    expect(p99).toBeLessThan(1000)
  })

  it('lognormal with another percentile and a ceiling', () => {
    const { p50, maximum } = percentiles({ lognormal: { p50Ms: 20, p95Ms: 80, maxMs: 100 } })
    expect(p50).toBeGreaterThan(19)
    expect(p50).toBeLessThan(21)
    expect(maximum).toBe(100)
  })

  it.each([
    [{ p50Ms: 50 }, 50, 332],
    [{ meanMs: 50 }, 34.7, 230],
    [{ p99Ms: 100 }, 15.05, 100],
  ])('exponential %o', (exponential, median, tail) => {
    const { p50, p99 } = percentiles({ exponential })
    expect(Math.abs(p50 / median - 1)).toBeLessThan(0.05)
    expect(Math.abs(p99 / tail - 1)).toBeLessThan(0.1)
  })

  it('uniform', () => {
    const { p50, maximum } = percentiles({ uniform: { minMs: 10, maxMs: 20 } })
    expect(Math.abs(p50 - 15)).toBeLessThan(0.5)
    expect(maximum).toBeLessThanOrEqual(20)
  })
})

it('two percentiles too many are refused', () => {
  expect(latencySchema.safeParse({ exponential: { p50Ms: 1, p99Ms: 2 } }).success).toBe(false)
  expect(latencySchema.safeParse({ lognormal: { p50Ms: 5, p99Ms: 2 } }).success).toBe(false)
  expect(latencySchema.safeParse({ uniform: { minMs: 5, maxMs: 2 } }).success).toBe(false)
})
