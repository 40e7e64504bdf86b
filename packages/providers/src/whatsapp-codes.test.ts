import { describe, expect, test } from 'vitest'
import { rowFor, whatsappCodes, whatsappOutcome } from './whatsapp-codes.ts'

const inError = (code: unknown) => ({ error: { code, message: 'said WhatsApp' } })

describe('a code of WhatsApp', () => {
  test.for([
    [4, 'throttled'],
    [80007, 'throttled'],
    [130429, 'throttled'],
    [131056, 'throttled'],
    [131000, 'unavailable'],
    [131016, 'unavailable'],
    [1, 'uncertain'],
    [0, 'credentials'],
    [190, 'credentials'],
    [200, 'credentials'],
    [299, 'credentials'],
    [368, 'policy'],
    [131031, 'policy'],
    [131042, 'balance'],
    [131048, 'policy'],
    [100, 'content'],
    [131009, 'content'],
    [132000, 'content'],
    [132016, 'content'],
    [131026, 'recipient'],
    [131047, 'recipient'],
  ] as const)('%i means %s', ([code, meaning]) => {
    const outcome = whatsappOutcome(inError(code), 400)
    expect(outcome).toMatchObject({ code: String(code), message: 'said WhatsApp' })
    expect(outcome && 'kind' in outcome ? outcome.kind : outcome?.outcome).toBe(meaning)
  })

  test('too many to one recipient waits without slowing the others', () => {
    expect(whatsappOutcome(inError(131056), 429)).toMatchObject({
      outcome: 'throttled',
      scope: 'pair',
      retryAfterMs: 6_000,
    })
    expect(whatsappOutcome(inError(131056), 429, 9_000)).toMatchObject({ retryAfterMs: 9_000 })
  })

  test('is found wherever providers put it, as a number or as text', () => {
    for (const body of [
      { code: 131009 },
      { code: '131009' },
      inError('131009'),
      { errors: [{ code: 131009 }] },
    ]) {
      expect(whatsappOutcome(body, 400)).toMatchObject({
        outcome: 'rejected',
        kind: 'content',
        code: '131009',
      })
    }
  })

  test('is not seen in what may be an HTTP status, a zero for no error, or unknown', () => {
    expect(whatsappOutcome({ code: 200 }, 400)).toBeUndefined()
    expect(whatsappOutcome(inError(0), 200)).toBeUndefined()
    expect(whatsappOutcome(inError(131999), 400)).toBeUndefined()
    expect(whatsappOutcome(inError('toString'), 400)).toBeUndefined()
    for (const body of [undefined, null, [], 'text', 7, { error: [] }, { errors: {} }]) {
      expect(whatsappOutcome(body, 400)).toBeUndefined()
    }
  })

  test('every code of the table is one that can be looked up', () => {
    for (const [code, row] of Object.entries(whatsappCodes)) expect(rowFor(code)).toBe(row)
  })
})
