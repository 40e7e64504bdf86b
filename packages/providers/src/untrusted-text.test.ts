import { expect, test } from 'vitest'
import { tellable, tellableCode } from './untrusted-text.ts'

test('one line without control, bidirectional or zero-width characters', () => {
  expect(tellable('a\r\n\tb\u0000\u001b[2Jc \u202ed\u200be\u2028f ')).toBe('a b [2Jc de f')
})

test('at most 300 characters, never half of one', () => {
  const text = tellable('😀'.repeat(400))
  expect([...text]).toHaveLength(300)
  expect(text.isWellFormed()).toBe(true)
  expect(tellable('😀'.repeat(300))).toBe('😀'.repeat(300))
})

test('a secret is cut out, also where invisible characters hide it or the end of the text cuts it', () => {
  const secrets = ['sk_12345678']
  expect(tellable('key sk_12345678 and sk_12345678!', secrets)).toBe('key [secret] and [secret]!')
  expect(tellable('key sk_1234\u200b5678', secrets)).toBe('key [secret]')
  expect(tellable(`${'x'.repeat(294)}sk_12345678`, secrets)).not.toContain('sk_')
})

test('words as short as no secret is stay', () => {
  expect(tellable('Incorrect SID or API key.', ['key'])).toBe('Incorrect SID or API key.')
})

test('a code is short', () => {
  expect(tellableCode(' WA\n400 ')).toBe('WA 400')
  expect(tellableCode('x'.repeat(1_000))).toHaveLength(64)
})
