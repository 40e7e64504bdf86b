import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigurationError } from '@wa-dispatch/dispatch'
import { afterAll, describe, expect, it } from 'vitest'
import { readConfig } from './config.ts'

const directory = mkdtempSync(join(tmpdir(), 'wa-dispatch-config-'))
afterAll(() => rmSync(directory, { recursive: true }))
const accountsFile = join(directory, 'accounts.json')
writeFileSync(
  accountsFile,
  JSON.stringify({
    accounts: [{ id: 'k', provider: 'kaleyra', sid: 'HX', apiKey: 's', sender: '919000000000' }],
  }),
)

const hash = (text: string) => createHash('sha256').update(text).digest('hex')
const good = { ACCOUNTS_FILE: accountsFile, API_KEYS: `shop:${hash('a')}:send+read` }

function faultsOf(env: NodeJS.ProcessEnv): string[] {
  try {
    readConfig({ ACCOUNTS_FILE: accountsFile, ...env })
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults
    throw error
  }
  return []
}

describe('the environment of the API', () => {
  it('has defaults for all but keys and accounts', () => {
    const config = readConfig(good)
    expect(config).toMatchObject({
      host: '127.0.0.1',
      port: 3000,
      requestsPerSecond: 10_000,
      authenticates: true,
    })
    expect(config.keys.map(({ name, scopes }) => [name, ...scopes])).toEqual([['shop', 'send', 'read']])
  })

  it('names the place of a bad key and never its hash', () => {
    const bad = hash('secret').slice(0, 60)
    const faults = faultsOf({
      API_KEYS: `shop:${hash('a')}:send,other:${bad}:send,third:${hash('b')}:send+all`,
    })
    expect(faults).toHaveLength(2)
    expect(faults[0]).toMatch(/^API_KEYS: entry 2: .*SHA-256/)
    expect(faults[1]).toMatch(/^API_KEYS: entry 3: .*scopes/)
    expect(faults.join()).not.toContain(bad.slice(0, 10))
  })

  it('refuses the same name or the same key twice', () => {
    expect(faultsOf({ API_KEYS: `a:${hash('a')}:send,a:${hash('b')}:send` })).toEqual([
      'API_KEYS: entry 2: the name a is there twice',
    ])
    expect(faultsOf({ API_KEYS: `a:${hash('a')}:send,b:${hash('a').toUpperCase()}:send` })).toEqual([
      'API_KEYS: entry 2: this key is there twice',
    ])
  })

  it('wants keys, or AUTH=off on a loopback host', () => {
    expect(faultsOf({})).toEqual([expect.stringMatching(/^API_KEYS: is not set/)])
    expect(faultsOf({ AUTH: 'off' })).toEqual([])
    expect(faultsOf({ AUTH: 'off', API_HOST: '::1' })).toEqual([])
    expect(faultsOf({ AUTH: 'off', API_HOST: '0.0.0.0' })).toEqual([
      expect.stringMatching(/^AUTH: off is for loopback/),
    ])
    expect(faultsOf({ ...good, AUTH: 'off', API_HOST: '10.0.0.1' })).toHaveLength(1)
  })

  it('tells every fault at once', () => {
    const faults = faultsOf({
      ...good,
      API_PORT: '70000',
      LOG_LEVEL: 'loud',
      ACCOUNTS_FILE: join(directory, 'none.json'),
    })
    expect(faults.map((fault) => fault.split(':')[0])).toEqual(
      expect.arrayContaining(['API_PORT', 'LOG_LEVEL', 'ACCOUNTS_FILE']),
    )
  })
})
