/** How long an answer is held back, as a distribution. All values are milliseconds. */
import { z } from 'zod'

const milliseconds = z.number().min(0).max(3_600_000)

/** The standard normal quantile of each percentile that may be named. */
const quantiles = { p90Ms: 1.281552, p95Ms: 1.644854, p99Ms: 2.326348 } as const
const exponentialShares = { p50Ms: 0.5, p90Ms: 0.9, p95Ms: 0.95, p99Ms: 0.99 } as const

const exactlyOne = (names: readonly string[]) => (value: object) =>
  names.filter((name) => name in value).length === 1

const tails = Object.keys(quantiles)
const exponentialNames = ['meanMs', ...Object.keys(exponentialShares)]

export const latencySchema = z.union(
  [
    z.strictObject({ fixedMs: milliseconds }),
    z.strictObject({
      uniform: z
        .strictObject({ minMs: milliseconds, maxMs: milliseconds })
        .refine(({ minMs, maxMs }) => minMs <= maxMs, { error: 'minMs must not exceed maxMs' }),
    }),
    z.strictObject({
      lognormal: z
        .strictObject({
          p50Ms: milliseconds.gt(0),
          p90Ms: milliseconds.optional(),
          p95Ms: milliseconds.optional(),
          p99Ms: milliseconds.optional(),
          maxMs: milliseconds.optional(),
        })
        .refine(exactlyOne(tails), { error: 'give p50Ms and exactly one of p90Ms, p95Ms, p99Ms' })
        .refine((value) => (value.p90Ms ?? value.p95Ms ?? value.p99Ms ?? Infinity) >= value.p50Ms, {
          error: 'the upper percentile must not be below p50Ms',
        }),
    }),
    z.strictObject({
      exponential: z
        .strictObject({
          meanMs: milliseconds.optional(),
          p50Ms: milliseconds.optional(),
          p90Ms: milliseconds.optional(),
          p95Ms: milliseconds.optional(),
          p99Ms: milliseconds.optional(),
          maxMs: milliseconds.optional(),
        })
        .refine(exactlyOne(exponentialNames), {
          error: `give exactly one of ${exponentialNames.join(', ')}`,
        }),
    }),
  ],
  { error: 'one of fixedMs, uniform, lognormal, exponential with their fields' },
)

export type Latency = z.infer<typeof latencySchema>

/**
 * A sampler for the distribution; milliseconds. The random source is drawn from once or twice a call.
 */
export function latencySampler(latency: Latency, random: () => number): () => number {
  if ('fixedMs' in latency) return () => latency.fixedMs
  if ('uniform' in latency) {
    const { minMs, maxMs } = latency.uniform
    return () => minMs + random() * (maxMs - minMs)
  }
  if ('lognormal' in latency) {
    const { p50Ms, maxMs = Infinity } = latency.lognormal
    const [tail, quantile] = Object.entries(quantiles).find(([name]) => name in latency.lognormal)!
    const sigma = Math.log(latency.lognormal[tail as keyof typeof quantiles]! / p50Ms) / quantile
    return () => Math.min(maxMs, p50Ms * Math.exp(sigma * standardNormal(random)))
  }
  const { meanMs, maxMs = Infinity } = latency.exponential
  const named = Object.entries(exponentialShares).find(([name]) => name in latency.exponential)
  const mean =
    meanMs ?? latency.exponential[named![0] as keyof typeof exponentialShares]! / -Math.log(1 - named![1])
  return () => Math.min(maxMs, -mean * Math.log(1 - random()))
}

/** Box and Muller's transform. */
function standardNormal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
