import { expect, test } from 'vitest'
import { retryAfterMs } from './retry-after.ts'

const now = Date.UTC(2026, 10, 22, 10, 0, 0)

test.for([
  ['120', 120_000],
  [' 7 ', 7_000],
  ['1.5', 1_500],
  ['0', 0],
  ['-5', 0],
  ['Sun, 22 Nov 2026 10:00:30 GMT', 30_000],
  ['Sunday, 22-Nov-26 10:00:30 GMT', 30_000],
  ['Sun Nov 22 10:00:30 2026', 30_000],
  ['Sat, 21 Nov 2026 10:00:00 GMT', 0],
  ['9'.repeat(400), Number.MAX_SAFE_INTEGER],
] as const)('%s is %i milliseconds', ([value, wait]) => {
  expect(retryAfterMs(value, now)).toBe(wait)
})

test.for([undefined, '', 'soon', 'in 5 minutes', '5 s', 'Sun, 99 Nov 2026 99:99:99 GMT', '1e3'])(
  '%s says nothing',
  (value) => {
    expect(retryAfterMs(value, now)).toBeUndefined()
  },
)
