import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadAccounts, parseAccounts } from './accounts.ts'
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

test('accounts on one credential share a limit by its name', () => {
  const shared = { name: 'our-waba', perSecond: 100 }
  const accounts = parse(
    { ...kaleyra, rateLimit: { shared } },
    { ...kaleyra, id: 'kaleyra-2', rateLimit: { perSecond: 20, shared } },
  )
  expect(accounts.map(({ rateLimit }) => rateLimit)).toEqual([
    { perSecond: 80, shared },
    { perSecond: 20, shared },
  ])
})

test('a breaker probes at growing intervals, unless the account says when', () => {
  const { probeDelaysMs } = parse(kaleyra)[0]!.breaker
  expect(probeDelaysMs.length).toBeGreaterThan(3)
  expect(probeDelaysMs).toEqual([...new Set(probeDelaysMs)].sort((a, b) => a - b))
  expect(parse({ ...kaleyra, breaker: { probeDelaysMs: [100, 200] } })[0]?.breaker).toEqual({
    probeDelaysMs: [100, 200],
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
    [
      'a shared limit without a name',
      { ...kaleyra, rateLimit: { shared: { perSecond: 5 } } },
      /accounts\[0\]\.rateLimit\.shared\.name/,
    ],
    [
      'a shared limit of nothing',
      { ...kaleyra, rateLimit: { shared: { name: 'a', perSecond: 0 } } },
      /accounts\[0\]\.rateLimit\.shared\.perSecond/,
    ],
    [
      'a shared name with a brace',
      { ...kaleyra, rateLimit: { shared: { name: 'a}', perSecond: 5 } } },
      /shared\.name: letters, digits and - only/,
    ],
    [
      'a breaker that never probes',
      { ...kaleyra, breaker: { probeDelaysMs: [] } },
      /accounts\[0\]\.breaker\.probeDelaysMs/,
    ],
    [
      'a breaker that probes all the time',
      { ...kaleyra, breaker: { probeDelaysMs: [0] } },
      /breaker\.probeDelaysMs\[0\]/,
    ],
    ['an unknown rule', { ...kaleyra, onUncertain: 'pray' }, /accounts\[0\]\.onUncertain/],
  ])('%s', (_name, account, expected) => {
    const found = faults(account)
    expect(found.join('\n')).toMatch(expected)
    expect(found.join('\n')).not.toContain('very-secret-key')
  })

  test('the same id twice', () => {
    expect(faults(kaleyra, kaleyra).join()).toMatch(/accounts\[1\]\.id: "kaleyra-in" is there twice/)
  })

  test('a shared limit that is not the same everywhere', () => {
    const limited = (perSecond: number) => ({ rateLimit: { shared: { name: 'our-waba', perSecond } } })
    expect(
      faults({ ...kaleyra, ...limited(100) }, { ...kaleyra, id: 'kaleyra-2', ...limited(50) }).join(),
    ).toMatch(/accounts\[1\]\.rateLimit\.shared\.perSecond: must be the same as in account "kaleyra-in"/)
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

test.each([
  ['a comma is missing', '{\n  "accounts": [\n    { "id": "a" "apiKey": "very-secret" }\n  ]\n}', 3, 17],
  ['a word stands without quotes', '{\n  "apiKey": very-secret\n}', 2, 13],
  ['a comma is too much', '{ "accounts": [{ "apiKey": "very-secret" },] }', 1, 44],
  ['it ends too early', '{ "accounts": [\n{ "apiKey": "very-secret"', 2, 26],
  ['it is empty', '', 1, 1],
])('a file is refused with the place where it stops being JSON: %s', async (_what, text, line, column) => {
  const directory = await mkdtemp(join(tmpdir(), 'wa-dispatch-'))
  const file = join(directory, 'accounts.json')
  await writeFile(file, text)
  const told = (() => {
    try {
      loadAccounts(file, env)
    } catch (error) {
      return (error as ConfigurationError).faults
    }
  })()
  await rm(directory, { recursive: true })
  expect(told).toHaveLength(1)
  expect(told![0]).toMatch(/accounts\.json: is not valid JSON: [A-Z][a-z ]+ at line/)
  expect(told![0]).toContain(`at line ${line}, column ${column}`)
  expect(told![0]).not.toContain('secret')
})
