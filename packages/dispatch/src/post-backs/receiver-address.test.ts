/** Where post-backs do not go. Real listeners count who connects, a real name server says what names have. */
import { request } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAllowList } from './allow-list.ts'
import { createDeliverer, type Delivery } from './deliver.ts'
import { createGuardedAgents } from './guarded-agents.ts'
import { createNames } from './names.ts'
import { isPublic, ReceiverGuard } from './receiver-address.ts'
import { createSigner, type Signer } from './sign.ts'
import { type Answer, type NameServer, startNameServer } from './testing.ts'

const signer = createSigner(`whsec_${Buffer.alloc(32, 7).toString('base64')}`) as Signer

/** Of this machine, as far as it has them: who connects is counted and answered. */
const listeners: Server[] = []
let connections = 0
/** Where a plain HTTP server listens on every address of this machine. */
let port: number
let nameServer: NameServer
/** What a name has, at its first, second, … look-up; the last one stays. */
const names: Record<string, Answer[]> = {
  'public.test': [['192.31.0.1', '2600::1']],
  'private.test': [['10.1.2.3']],
  'loopback.test': [['127.0.0.1']],
  'mixed.test': [['8.8.8.8', '127.0.0.1']],
  'mixed-families.test': [['8.8.8.8', '::1']],
  'mapped.test': [['::ffff:127.0.0.1']],
  'translated.test': [['64:ff9b::127.0.0.1']],
  '6to4.test': [['2002:7f00:1::1']],
  'compatible.test': [['::127.0.0.1']],
  'metadata.test': [['169.254.169.254']],
  'rebinds.test': [['8.8.8.8'], ['127.0.0.1']],
  'listed-then-not.test': [['203.0.113.9'], ['127.0.0.1']],
  'half-listed.test': [['203.0.113.9', '127.0.0.1']],
  'silent.test': ['silence'],
  'none.test': [[]],
  'later.test': [[], ['127.0.0.1']],
}

async function listen(onPort: number, host: string): Promise<Server | undefined> {
  const server = createServer((socket) => {
    connections++
    socket.on('error', () => undefined)
    socket.on('data', () => socket.end('HTTP/1.1 204 No Content\r\n\r\n'))
  })
  const listening = new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(onPort, host, () => resolve(true))
  })
  if (!(await listening)) return undefined
  listeners.push(server)
  return server
}

beforeAll(async () => {
  const first = await listen(0, '127.0.0.1')
  port = (first!.address() as AddressInfo).port
  await listen(port, '::1')
  // Where this process may: the ports that no URL has to name.
  for (const well of [443, 80]) for (const host of ['127.0.0.1', '::1']) await listen(well, host)
  nameServer = await startNameServer((name, time) => names[name]?.[time - 1] ?? names[name]?.at(-1) ?? [])
})

afterAll(async () => {
  for (const listener of listeners) listener.close()
  await nameServer.close()
})

const guardOf = (allow = '') =>
  new ReceiverGuard(
    parseAllowList(allow).list,
    createNames({ servers: nameServer.servers, timeoutMs: 1_000 }),
  )

async function deliver(guard: ReceiverGuard, url: string): Promise<Delivery> {
  const deliverer = createDeliverer({ guard, signer, timeoutMs: 5_000 })
  const delivery = await deliverer.deliver({ url, eventId: 'evt_1', body: '{}' })
  deliverer.close()
  return delivery
}

/** With the port where somebody listens, and with the one that its scheme has. */
const literals = [
  '127.0.0.1',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0x7f.1',
  '0177.0.0.1',
  '017700000001',
  '127.0.0.1.',
  '①②⑦.⓪.⓪.①',
  '127.0.0.1%2e',
  '0',
  '0.0.0.0',
  '10.0.0.1',
  '100.64.0.1',
  '169.254.169.254',
  '172.31.255.255',
  '192.0.0.8',
  '192.168.1.1',
  '198.18.0.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '[::]',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::127.0.0.1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::ffff:0:127.0.0.1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b:1::127.0.0.1]',
  '[2002:7f00:1::1]',
  '[2001::7f00:1]',
  '[fc00::1]',
  '[fd00:ec2::254]',
  '[fe80::1]',
  '[fec0::1]',
  '[ff02::1]',
  '[100::1]',
  '[5f00::1]',
  '[2001:db8::1]',
  'localhost',
  'LOCALHOST',
  'localhost.',
  'a.localhost',
  'ⓛocalhost',
]

describe('without a list, nothing is connected to at', () => {
  const urls = literals.flatMap((host) => [
    `https://${host}/hook`,
    `http://${host}/hook`,
    `https://${host}:PORT/hook`,
    `http://${host}:PORT/hook`,
  ])
  test.for(urls)('%s', async (written) => {
    const url = written.replace('PORT', String(port))
    const guard = guardOf()
    expect(await guard.check(url)).toMatch(/not a public address|must begin with https|not a URL/)
    expect(await deliver(guard, url)).toMatchObject({ kind: 'refused-address' })
    expect(connections).toBe(0)
  })

  test.for([
    ['https://user@hooks.example/', 'no user name or password'],
    ['https://user:secret@hooks.example/', 'no user name or password'],
    ['https://:secret@8.8.8.8/', 'no user name or password'],
    ['https://hooks.example:8443/', 'on port 443, not 8443'],
    ['https://8.8.8.8:22/', 'on port 443, not 22'],
    ['https://hooks.example:0/', 'on port 443, not 0'],
    ['http://hooks.example/', 'begin with https://'],
    ['http://8.8.8.8/', 'begin with https://'],
    ['http://hooks.example:443/', 'begin with https://'],
    ['ftp://hooks.example/', 'begin with https://'],
    ['file:///etc/passwd', 'begin with https://'],
    ['unix:/run/docker.sock', 'begin with https://'],
    ['http://unix:/run/docker.sock:/hook', 'begin with https://'],
    ['javascript:0', 'begin with https://'],
    ['https://[fe80::1%25eth0]/', 'is not a URL'],
    ['https://256.0.0.1/', 'is not a URL'],
    ['https://', 'is not a URL'],
    ['hooks.example/path', 'is not a URL'],
    ['', 'is not a URL'],
    [`https://hooks.example/${'a'.repeat(2_048)}`, 'more than 2048 characters'],
  ])('%s: %s', async ([url, reason]) => {
    const guard = guardOf()
    expect(await guard.check(url!)).toContain(reason)
    expect(await deliver(guard, url!)).toMatchObject({ kind: 'refused-address' })
    expect(connections).toBe(0)
  })

  test.for([
    'private',
    'loopback',
    'mixed',
    'mixed-families',
    'mapped',
    'translated',
    '6to4',
    'compatible',
    'metadata',
  ])('a name with an address that is not public: %s.test', async (name) => {
    const guard = guardOf()
    const url = `https://${name}.test/hook`
    expect(await guard.check(url)).toBe('leads to an address that is not public')
    expect(await deliver(guard, url)).toMatchObject({ kind: 'refused-address', code: 'ERR_ADDRESS_REFUSED' })
    expect(connections).toBe(0)
  })

  test('a name that had a public address when it was handed in', async () => {
    const guard = guardOf()
    expect(await guard.check('https://rebinds.test/hook')).toBeUndefined()
    expect(await deliver(guard, 'https://rebinds.test/hook')).toMatchObject({ kind: 'refused-address' })
    expect(nameServer.asked.filter((name) => name === 'rebinds.test')).toHaveLength(2)
    expect(connections).toBe(0)
  })

  test('a name that could not be resolved when it was handed in', async () => {
    const guard = guardOf()
    expect(await guard.check('https://later.test/hook')).toBeUndefined()
    expect(await deliver(guard, 'https://later.test/hook')).toMatchObject({ kind: 'refused-address' })
    expect(connections).toBe(0)
  })

  test('an address that reaches the connection unseen', async () => {
    const { http } = createGuardedAgents(guardOf(), 1)
    for (const host of [
      '127.0.0.1',
      '::1',
      '[::1]',
      'localhost',
      'LOCALHOST.',
      'loopback.test',
      '2130706433',
    ]) {
      const code = await new Promise((resolve) => {
        request({ agent: http, host, port })
          .on('error', ({ code }: NodeJS.ErrnoException) => resolve(code))
          .on('response', ({ statusCode }) => resolve(statusCode))
          .end()
      })
      expect(code, host).toBe('ERR_ADDRESS_REFUSED')
    }
    expect(connections).toBe(0)
  })
})

describe('a public receiver', () => {
  test.for([
    'https://public.test/hook?a=1',
    'https://PUBLIC.test:443/',
    'https://8.8.8.8/',
    'https://[2600::1]/',
  ])('is accepted: %s', async (url) => {
    expect(await guardOf().check(url)).toBeUndefined()
  })

  test.for(['none', 'silent'])(
    'is accepted while its name is not resolved, and tried later: %s.test',
    async (name) => {
      const guard = guardOf()
      expect(await guard.check(`https://${name}.test/`)).toBeUndefined()
      const delivery = await deliver(guard, `https://${name}.test/`)
      expect(delivery.kind).toBe('failed')
      expect(delivery.code).toMatch(/ENOTFOUND|ETIMEOUT/)
    },
  )

  test('has its name asked once for many messages that come together', async () => {
    const guard = guardOf()
    const before = nameServer.asked.length
    const urls = Array.from({ length: 500 }, (_, index) => `https://public.test/${index}`)
    expect(await Promise.all(urls.map((url) => guard.check(url)))).toEqual(urls.map(() => undefined))
    expect(nameServer.asked.length - before).toBe(1)
  })

  test.for([
    ['8.8.8.8', true],
    ['192.31.196.1', false],
    ['2600::1', true],
    ['4000::1', false],
    ['no address', false],
  ] as const)('%s is public: %s', ([address, expected]) => {
    expect(isPublic(address)).toBe(expected)
  })
})

describe('with a list', () => {
  const reached = async (allow: string, url: string) => {
    const before = connections
    const guard = guardOf(allow)
    const fault = await guard.check(url)
    const { kind } = await deliver(guard, url)
    return { fault, kind, connected: connections > before }
  }
  const yes = { fault: undefined, kind: 'delivered', connected: true }

  test.for([
    ['127.0.0.1', '127.0.0.1'],
    ['127.0.0.0/8', '2130706433'],
    ['127.0.0.1', 'localhost'],
    ['localhost', 'localhost'],
    ['127.0.0.0/8', 'loopback.test'],
    ['127.0.0.0/8', 'a.localhost'],
    ['127.0.0.1:port', '127.0.0.1'],
    ['localhost:port', 'localhost'],
  ])('%s lets http://%s through, on any port unless it names one', async ([allow, host]) => {
    expect(await reached(allow!.replace('port', `${port}`), `http://${host}:${port}/hook`)).toEqual(yes)
  })

  test.for([
    ['127.0.0.1:1', '127.0.0.1'],
    ['localhost', '127.0.0.1'],
    ['localhost', 'a.localhost'],
    ['10.0.0.0/8', 'loopback.test'],
    ['10.0.0.0/8', 'localhost'],
    ['10.0.0.0/8', '127.0.0.1'],
    ['hooks.internal', '127.0.0.1'],
    ['203.0.113.9', 'half-listed.test'],
  ])('%s does not let http://%s through', async ([allow, host]) => {
    const { fault, ...rest } = await reached(allow!, `http://${host}:${port}/hook`)
    expect(fault).toBeTypeOf('string')
    expect(rest).toEqual({ kind: 'refused-address', connected: false })
  })

  test('credentials are refused all the same', async () => {
    const { fault, connected } = await reached('127.0.0.1', `http://me:secret@127.0.0.1:${port}/`)
    expect({ fault, connected }).toEqual({
      fault: 'must hold no user name or password',
      connected: false,
    })
  })

  test('a name that changes to an address beside the list is not followed there', async () => {
    const url = `http://listed-then-not.test:${port}/hook`
    expect(await reached('203.0.113.9', url)).toEqual({
      fault: undefined,
      kind: 'refused-address',
      connected: false,
    })
  })

  test('the connection goes to the addresses that were looked at, without a second look-up', async () => {
    names['changes.test'] = [['127.0.0.1'], ['192.0.2.1']]
    const before = connections
    expect(await deliver(guardOf('127.0.0.1'), `http://changes.test:${port}/hook`)).toMatchObject({
      kind: 'delivered',
    })
    expect(connections - before).toBe(1)
    expect(nameServer.asked.filter((name) => name === 'changes.test')).toHaveLength(1)
  })
})
