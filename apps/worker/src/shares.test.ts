import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Shares } from './shares.ts'

const countOf = (order: string[], name: string) => order.filter((one) => one === name).length
const weightsOf = (weights: Record<string, number>) => new Map(Object.entries(weights))

describe('campaigns that share a lane', () => {
  test('of weight 2 and 1 are served A B A, finely mixed', () => {
    expect(new Shares().divide(weightsOf({ A: 2, B: 1 }), 9).join('')).toBe('ABAABAABA')
  })

  test('go on where the last division ended, however small the divisions are', () => {
    const weights = weightsOf({ A: 3, B: 2, C: 1 })
    const whole = new Shares().divide(weights, 60)
    const shares = new Shares()
    const pieces = [1, 2, 7, 20, 30].flatMap((count) => shares.divide(weights, count))
    expect(pieces).toEqual(whole)
  })

  test('get what their weights say in every stretch, whatever the weights, and none starves', () => {
    const property = fc.property(
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 6 }),
      fc.nat({ max: 500 }),
      fc.integer({ min: 1, max: 500 }),
      (each, from, length) => {
        const weights = new Map(each.map((weight, index) => [String(index), weight]))
        const total = each.reduce((sum, weight) => sum + weight, 0)
        const stretch = new Shares().divide(weights, from + length).slice(from)
        expect(stretch).toHaveLength(length)
        for (const [name, weight] of weights) {
          const due = (length * weight) / total
          expect(Math.abs(countOf(stretch, name) - due)).toBeLessThanOrEqual(weights.size)
        }
      },
    )
    fc.assert(property, { seed: 20_260_901, numRuns: 300 })
  })

  test('let a new one in at once, and one that comes back has saved up nothing', () => {
    const shares = new Shares()
    shares.divide(weightsOf({ A: 1 }), 1_000)
    expect(countOf(shares.divide(weightsOf({ A: 1, B: 1 }), 10), 'B')).toBe(5)
    shares.divide(weightsOf({ A: 1 }), 1_000)
    expect(countOf(shares.divide(weightsOf({ A: 1, B: 1 }), 10), 'B')).toBe(5)
  })

  test('are none: then nobody is served nothing', () => {
    expect(new Shares().divide(weightsOf({ A: 1 }), 0)).toEqual([])
  })
})
