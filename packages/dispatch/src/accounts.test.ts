import { describe, expect, test } from 'vitest'
import { parseAccounts } from './accounts.ts'
import { ConfigurationError } from './environment.ts'

const kaleyra = {
  id: 'kaleyra-in',
  provider: 'kaleyra',
  sid: 'HX1',
  apiKey: '${KEY}',
  sender: '919000000000',
}
const env = { KEY: 'very-secret-key' }
const parse = (...accounts: unknown[]) => parseAccounts({ accounts }, env)
const faults = (...accounts: unknown[]): string[] => {
  try {
    parse(...accounts)
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults
    throw error
  }
  return []
}

test('what a provider brings need not be written', () => {
  expect(parse(kaleyra)[0]).toMatchObject({
    apiKey: 'very-secret-key',
    baseUrl: 'https://api.in.kaleyra.io',
    rateLimit: { perSecond: 80 },
    timeoutMs: 10_000,
    retry: { unavailable: { delaysMs: [300_000, 600_000, 900_000] } },
    onUncertain: 'hold',
  })
})

test('a part of the limits leaves the rest as it is', () => {
  expect(parse({ ...kaleyra, rateLimit: { pairPerMinute: 10 } })[0]?.rateLimit).toEqual({
    perSecond: 80,
    pairPerMinute: 10,
  })
})

describe('faults name the path and hold no secret', () => {
  test.each([
    [
      'an unset variable',
      { ...kaleyra, apiKey: '${NOT_THERE}' },
      /accounts\[0\]\.apiKey: .*NOT_THERE is not set/,
    ],
    ['an unknown provider', { ...kaleyra, provider: 'twilio' }, /accounts\[0\]\.provider/],
    ['an unknown field', { ...kaleyra, colour: 'red' }, /accounts\[0\].*colour/],
    ['a missing credential', { ...kaleyra, apiKey: undefined }, /accounts\[0\]\.apiKey/],
    ['an id with a colon', { ...kaleyra, id: 'a:b' }, /accounts\[0\]\.id/],
    [
      'http to somewhere else',
      { ...kaleyra, baseUrl: 'http://api.example' },
      /accounts\[0\]\.baseUrl: .*https/,
    ],
    ['no URL', { ...kaleyra, baseUrl: 'api.example' }, /accounts\[0\]\.baseUrl/],
    ['a rate of nothing', { ...kaleyra, rateLimit: { perSecond: 0 } }, /accounts\[0\]\.rateLimit\.perSecond/],
    ['a text as a delay', { ...kaleyra, retry: { unavailable: { delaysMs: ['1'] } } }, /delaysMs\[0\]/],
    ['an unknown rule', { ...kaleyra, onUncertain: 'pray' }, /accounts\[0\]\.onUncertain/],
  ])('%s', (_name, account, expected) => {
    const found = faults(account)
    expect(found.join('\n')).toMatch(expected)
    expect(found.join('\n')).not.toContain('very-secret-key')
  })

  test('the same id twice', () => {
    expect(faults(kaleyra, kaleyra).join()).toMatch(/accounts\[1\]\.id: "kaleyra-in" is there twice/)
  })

  test('every fault is told at once', () => {
    expect(faults({ ...kaleyra, apiKey: '${A}' }, { ...kaleyra, id: 'b', sender: '${B}' })).toHaveLength(2)
  })

  test.each([[null], [{}], [{ accounts: [] }], [{ accounts: [1] }], [{ accounts: [kaleyra], more: 1 }]])(
    '%j',
    (json) => {
      expect(() => parseAccounts(json, env)).toThrow(ConfigurationError)
    },
  )
})

test.each([
  'http://127.0.0.1:3100',
  'http://localhost:3100',
  'http://[::1]:3100',
  'http://simulator.localhost',
])('%s is this machine, so http will do', (baseUrl) =>
  expect(parse({ ...kaleyra, baseUrl })[0]?.baseUrl).toBe(baseUrl),
)
