import { describe, expect, test } from 'vitest'
import { isProviderName, providerNames, providers } from './registry.ts'
import type { ProviderFixtures } from './testing/fixtures.ts'

test('the four providers are there under their names', () => {
  expect(providerNames).toEqual(['kaleyra', 'gupshup', 'zixflow', 'zixflow-campaign'])
  for (const name of providerNames) expect(providers[name].name).toBe(name)
})

test('names that every object has are no providers', () => {
  for (const name of ['constructor', '__proto__', 'toString', '']) expect(isProviderName(name)).toBe(false)
  expect(isProviderName('kaleyra')).toBe(true)
})

describe.for(providerNames)('%s', (name) => {
  const provider = providers[name]

  test('every outcome that its table declares is shown by a fixture', async () => {
    const { fixtures }: { fixtures: ProviderFixtures } = await import(`./${name}/fixtures.ts`)
    const shown = new Set(fixtures.replies.map(({ row }) => row))
    expect(Object.keys(provider.outcomes).filter((row) => !shown.has(row))).toEqual([])
  })

  test('every status that its receipts may have is shown by a fixture', async () => {
    const { fixtures }: { fixtures: ProviderFixtures } = await import(`./${name}/fixtures.ts`)
    const found = (fixtures.receipts ?? []).flatMap(({ reading }) => reading.receipts ?? [])
    const shown = new Map(found.map(({ status, state }) => [status, state ?? null]))
    const declared = Object.entries(provider.receiptStatuses ?? {})
    expect(declared.filter(([status, state]) => shown.get(status) !== state)).toEqual([])
    expect(declared.length > 0).toBe(provider.readReceipts !== undefined)
  })

  test('its defaults can be used as they are', () => {
    const { baseUrl, rateLimit, timeoutMs, retry } = provider.defaults
    expect(new URL(baseUrl ?? '').protocol).toBe('https:')
    expect(rateLimit.perSecond).toBeGreaterThan(0)
    expect(timeoutMs).toBeGreaterThanOrEqual(1_000)
    // A worker's lock is renewed in half minutes: an attempt has to end before.
    expect(timeoutMs).toBeLessThan(30_000)
    const { delaysMs } = retry.unavailable
    expect(delaysMs.toSorted((one, other) => one - other)).toEqual(delaysMs)
    expect(delaysMs.length).toBeGreaterThan(0)
  })
})
