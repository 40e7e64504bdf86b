import { describe, expect, test } from 'vitest'
import { type ConfigurationError, readEnvironment } from '../environment.ts'
import { parseAllowList } from './allow-list.ts'
import { postBackEnvironment } from './environment.ts'

const read = (env: Record<string, string>) => readEnvironment(postBackEnvironment, env)
const faultsOf = (env: Record<string, string>) => {
  try {
    read(env)
  } catch (error) {
    return (error as ConfigurationError).faults
  }
  return []
}

describe('POST_BACK_ALLOW', () => {
  const { POST_BACK_ALLOW: list } = read({
    POST_BACK_ALLOW:
      'Hooks.Internal., bücher.example:8443, 10.0.0.0/8,192.0.2.7, 192.0.2.8:8080,fd00:1::/32, [fd00:2::1]:9000, ,::1',
  })

  test.for([
    ['hooks.internal', 80, true],
    ['hooks.internal', 4433, true],
    ['a.hooks.internal', 80, false],
    ['internal', 80, false],
    ['xn--bcher-kva.example', 8443, true],
    ['xn--bcher-kva.example', 443, false],
  ] as const)('the host %s on port %i: %s', ([host, port, named]) => {
    expect(list.namesHost(host, port)).toBe(named)
  })

  test.for([
    ['10.255.0.1', 80, true],
    ['11.0.0.1', 80, false],
    ['192.0.2.7', 1, true],
    ['192.0.2.8', 8080, true],
    ['192.0.2.8', 80, false],
    ['fd00:1:ffff::1', 80, true],
    ['fd00:2::1', 9000, true],
    ['fd00:2::1', 80, false],
    ['::1', 80, true],
    ['127.0.0.1', 80, false],
  ] as const)('the address %s on port %i: %s', ([address, port, named]) => {
    expect(list.namesAddress(address, port)).toBe(named)
  })

  test('none is an empty one', () => {
    const { POST_BACK_ALLOW, POST_BACK_SECRET } = read({ POST_BACK_ALLOW: '', POST_BACK_SECRET: '' })
    expect(POST_BACK_ALLOW.hasAddresses).toBe(false)
    expect(POST_BACK_SECRET).toBeUndefined()
  })

  test.for([
    ['10.0.0.0/33', 'has more bits'],
    ['10.0.0/8', 'is no CIDR range'],
    ['fd00::/129', 'has more bits'],
    ['hooks.internal/24', 'is no CIDR range'],
    ['hooks.internal:0', 'has no port'],
    ['hooks.internal:65536', 'has no port'],
    ['hooks.internal:http', 'has no port'],
    ['hooks.internal:', 'has no port'],
    ['0x7f.1', 'is no host'],
    ['2130706433', 'is no host'],
    ['*.internal', 'is no host'],
    ['a b', 'is no host'],
    ['hooks.internal#staging', 'is no host'],
    ['hooks.internal?', 'is no host'],
    ['hooks\\internal', 'is no host'],
    ['[10.0.0.1]', 'has no IPv6 address'],
    ['fd00::1:zz', 'has no port'],
    ['http://hooks.internal', 'is a URL'],
  ])('%s %s', ([entry, fault]) => {
    const faults = faultsOf({ POST_BACK_ALLOW: `ok.internal,${entry},10.0.0.1` })
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(`POST_BACK_ALLOW: "${entry}" ${fault}`)
  })

  test('each bad entry has its line, and none tells a password', () => {
    const { faults } = parseAllowList('https://me:hunter2@hooks.internal,10.0.0.0/99')
    expect(faults).toHaveLength(2)
    expect(faults.join()).toContain('hooks.internal')
    expect(faults.join()).not.toContain('hunter2')
  })
})

describe('POST_BACK_SECRET', () => {
  const long = Buffer.alloc(65).toString('base64')
  test.for([
    ['no prefix', 'C2FVsBQIhrscChlQIMV+b5sSYspob7oD', 'must begin with whsec_'],
    ['no base64', 'whsec_C2FVsBQIhrscChlQIMV-b5sSYspob7oD', 'must be base64'],
    ['too short a key', 'whsec_c2VjcmV0', 'from 24 to 64 bytes'],
    ['too long a key', `whsec_${long}`, 'from 24 to 64 bytes'],
    ['nothing but the prefix', 'whsec_', 'from 24 to 64 bytes'],
    ['a bad second one', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD sesame', 'the secret number 2 must begin'],
  ])('%s is told without the secret', ([, secret, fault]) => {
    const faults = faultsOf({ POST_BACK_SECRET: secret! })
    expect(faults).toHaveLength(1)
    expect(faults[0]).toContain(`POST_BACK_SECRET: `)
    expect(faults[0]).toContain(fault)
    for (const word of ['C2FVs', 'c2VjcmV0', 'sesame']) expect(faults[0]).not.toContain(word)
  })
})
