/** A receiver verifies with the public library; what it must not accept, it does not. */
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { createSigner, type Signer } from './sign.ts'

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const other = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'
const body = '{"type":"message.delivered","data":{"to":"919876543210","text":"Grüße 👋"}}'
const MINUTE_MS = 60_000

const signed = (with_ = secret, at = new Date()) => ({
  ...(createSigner(with_) as Signer).sign('evt_00011', at, body),
})

describe('a receiver', () => {
  test('verifies with the secret', () => {
    expect(new Webhook(secret).verify(body, signed())).toMatchObject({ type: 'message.delivered' })
  })

  test('verifies with either secret while they are changed', () => {
    for (const separator of [' ', ',', ', ', '\n'])
      for (const mine of [secret, other])
        expect(new Webhook(mine).verify(body, signed(`${other}${separator}${secret}`))).toBeTruthy()
  })

  test.for([
    ['another body', secret, body.replace('1', '2'), signed()],
    ['another id', secret, body, { ...signed(), 'webhook-id': 'evt_00012' }],
    [
      'another time',
      secret,
      body,
      { ...signed(), 'webhook-timestamp': `${Math.floor(Date.now() / 1e3) - 9}` },
    ],
    ['an old time', secret, body, signed(secret, new Date(Date.now() - 6 * MINUTE_MS))],
    ['a time ahead', secret, body, signed(secret, new Date(Date.now() + 6 * MINUTE_MS))],
    ['another secret', other, body, signed()],
    ['no signature', secret, body, { ...signed(), 'webhook-signature': '' }],
  ] as const)('refuses %s', ([, mine, text, headers]) => {
    expect(() => new Webhook(mine).verify(text, headers)).toThrow()
  })

  test('gets the signature of the specification’s own example', () => {
    // Standard Webhooks, libraries' test vector.
    const signature = (createSigner(secret) as Signer).sign(
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      new Date(1_614_265_330_000),
      '{"test": 2432232314}',
    )
    expect(signature).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    })
  })
})
