import { expect, test } from 'vitest'
import { Quickest } from './quickest.ts'

test('what takes longer than the quickest is told by how much', () => {
  const claims = new Quickest()
  expect([60, 40, 340, 41].map((ms, index) => claims.beyond(ms, index))).toEqual([0, 0, 300, 1])
})

test('who was away for long is not believed to be slow', () => {
  const claims = new Quickest()
  claims.beyond(3, 0)
  expect(claims.beyond(303, 3_600_000)).toBe(300)
})

test('what takes longer for good is usual after twenty seconds', () => {
  const claims = new Quickest()
  claims.beyond(3, 0)
  const beyond = Array.from({ length: 30 }, (_, second) => claims.beyond(80, second * 1_000))
  expect(beyond.slice(0, 10)).toEqual(Array(10).fill(77))
  expect(beyond.slice(20)).toEqual(Array(10).fill(0))
})
