/** One post-back to receivers that behave and misbehave. */
import { spawn } from 'node:child_process'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import {
  closedPort,
  localhostCertificate,
  onWholeRequest,
  startHttp,
  startHttps,
  startSocket,
} from '@wa-dispatch/providers/testing'
import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, test } from 'vitest'
import { parseAllowList } from './allow-list.ts'
import { createDeliverer, type Deliverer } from './deliver.ts'
import { ReceiverGuard } from './receiver-address.ts'
import { createSigner, type Signer } from './sign.ts'

const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const signer = createSigner(secret) as Signer
const body = '{"type":"message.delivered"}'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

function delivererFor(allow = '127.0.0.1', timeoutMs = 10_000): Deliverer {
  const guard = new ReceiverGuard(parseAllowList(allow).list)
  const deliverer = createDeliverer({ guard, signer, timeoutMs })
  closers.push(() => deliverer.close())
  return deliverer
}

async function receiver(answer: (response: ServerResponse) => void) {
  const server = await startHttp((_, response) => answer(response))
  closers.push(() => server.close())
  return server
}

/** A receiver that is only a socket, and what became of its connections. */
async function socketReceiver(onRequest: (socket: Socket) => void) {
  let open = 0
  let all = 0
  const server = await startSocket((socket) => {
    open++
    all++
    socket.on('error', () => undefined)
    socket.on('close', () => open--)
    onWholeRequest(socket, () => onRequest(socket))
  })
  closers.push(() => server.close())
  return { ...server, open: () => open, all: () => all }
}

const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10))
}

const to = (url: string) => ({ url, eventId: 'evt_00011', body })

test('a receiver verifies what it gets', async () => {
  const server = await receiver((response) => response.writeHead(204).end())
  const { kind, code } = await delivererFor().deliver(to(`${server.url}/hook?for=me`))
  expect({ kind, code }).toEqual({ kind: 'delivered', code: '204' })
  const [got] = server.received
  expect(got).toMatchObject({ method: 'POST', path: '/hook?for=me', body })
  expect(got?.headers).toMatchObject({
    'content-type': 'application/json',
    'webhook-id': 'evt_00011',
    'user-agent': expect.stringMatching(/^wa-dispatch\/\d+\.\d+\.\d+$/),
  })
  expect(new Webhook(secret).verify(got!.body, got!.headers as Record<string, string>)).toEqual(
    JSON.parse(body),
  )
})

test.for([
  [200, 'delivered'],
  [202, 'delivered'],
  [299, 'delivered'],
  [300, 'failed'],
  [400, 'failed'],
  [401, 'failed'],
  [404, 'failed'],
  [410, 'gone'],
  [429, 'failed'],
  [500, 'failed'],
  [503, 'failed'],
] as const)('%i is %s', async ([status, kind]) => {
  const server = await receiver((response) => response.writeHead(status).end('thanks'))
  const delivery = await delivererFor().deliver(to(server.url))
  expect(delivery).toMatchObject({ kind, code: String(status) })
  expect(delivery).not.toHaveProperty('retryAfterMs')
})

test.for([301, 302, 303, 307, 308])('a redirect is not followed: %i', async (status) => {
  const elsewhere = await socketReceiver(() => undefined)
  const server = await receiver((response) =>
    response.writeHead(status, { location: `${elsewhere.url}/latest/meta-data` }).end(),
  )
  expect(await delivererFor().deliver(to(server.url))).toMatchObject({ kind: 'failed', code: String(status) })
  expect(server.received).toHaveLength(1)
  expect(elsewhere.all()).toBe(0)
})

test.for([
  ['7', 7_000],
  [new Date(Date.now() + 3_600_000).toUTCString(), 3_600_000],
  ['soon', undefined],
] as const)('Retry-After: %s', async ([value, milliseconds]) => {
  const server = await receiver((response) => response.writeHead(503, { 'retry-after': value }).end())
  const { retryAfterMs } = await delivererFor().deliver(to(server.url))
  if (milliseconds === undefined) expect(retryAfterMs).toBeUndefined()
  else expect(Math.abs(retryAfterMs! - milliseconds)).toBeLessThan(60_000)
})

describe('a receiver that takes its time', () => {
  test('and never answers, is left', async () => {
    const server = await socketReceiver(() => undefined)
    const delivery = await delivererFor('127.0.0.1', 300).deliver(to(server.url))
    expect(delivery).toMatchObject({ kind: 'failed', code: 'ETIMEDOUT' })
    await until(() => server.open() === 0)
  })

  test('for each byte of its headers, is left', async () => {
    const server = await socketReceiver((socket) => {
      const drip = setInterval(() => socket.write('a'), 20)
      socket.on('close', () => clearInterval(drip))
      socket.write('HTTP/1.1 200 OK\r\nx-slow: ')
    })
    const delivery = await delivererFor('127.0.0.1', 300).deliver(to(server.url))
    expect(delivery).toMatchObject({ kind: 'failed', code: 'ETIMEDOUT' })
    await until(() => server.open() === 0)
  })

  test('for its body, has answered', async () => {
    const server = await socketReceiver((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nth'),
    )
    const delivery = await delivererFor('127.0.0.1', 300).deliver(to(server.url))
    expect(delivery).toMatchObject({ kind: 'delivered', code: '200' })
    await until(() => server.open() === 0)
  })

  test('for its TLS, is left', async () => {
    const server = await startSocket(() => undefined)
    closers.push(() => server.close())
    const delivery = await delivererFor('127.0.0.1', 300).deliver(to(`https://127.0.0.1:${server.port}/`))
    expect(delivery).toMatchObject({ kind: 'failed', code: 'ETIMEDOUT' })
  })
})

test('a body without an end is not read to its end', async () => {
  let written = 0
  const piece = Buffer.alloc(64 * 1024)
  const server = await socketReceiver((socket) => {
    const pour = () => {
      while (!socket.destroyed && socket.write(piece)) written += piece.length
    }
    socket.on('drain', pour)
    socket.write('HTTP/1.1 500 Oh\r\nconnection: close\r\n\r\n')
    pour()
  })
  expect(await delivererFor().deliver(to(server.url))).toMatchObject({ kind: 'failed', code: '500' })
  await until(() => server.open() === 0)
  // What the system's own buffers hold comes on top.
  expect(written).toBeLessThan(64 * 1024 * 1024)
})

test.for([
  ['', 'ECONNRESET'],
  ['HTTP/1.1 20', 'ECONNRESET|HPE_'],
  ['nonsense', 'HPE_'],
  ['HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n', 'ERR_UPGRADE'],
  [`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(100_000)}\r\n\r\n`, 'HPE_HEADER_OVERFLOW'],
] as const)('what is no answer is a failure: %s', async ([words, code]) => {
  const server = await socketReceiver((socket) => socket.end(words))
  const delivery = await delivererFor().deliver(to(server.url))
  expect(delivery.kind).toBe('failed')
  expect(delivery.code).toMatch(new RegExp(code))
})

test('nobody there is a failure', async () => {
  const delivery = await delivererFor().deliver(to(`http://127.0.0.1:${await closedPort()}/`))
  expect(delivery).toMatchObject({ kind: 'failed', code: 'ECONNREFUSED' })
})

test('a connection is used again, but only by the host that it was made for', async () => {
  const ports: unknown[] = []
  const server = await startHttp((_, response) => {
    ports.push(response.socket?.remotePort)
    response.writeHead(200).end('thanks')
  })
  closers.push(() => server.close())
  const deliverer = delivererFor('localhost')
  const url = `http://localhost:${server.port}/`
  for (let time = 0; time < 3; time++) expect((await deliverer.deliver(to(url))).kind).toBe('delivered')
  expect(new Set(ports).size).toBe(1)
  expect(await deliverer.deliver(to(server.url))).toMatchObject({ kind: 'refused-address' })
  expect(ports).toHaveLength(3)
})

test('a proxy of the environment is not used', async () => {
  const proxy = await socketReceiver((socket) => socket.end())
  const server = await receiver((response) => response.writeHead(204).end())
  const source = `
    import { createDeliverer, createSigner, parseAllowList, ReceiverGuard } from '${new URL('index.ts', import.meta.url)}'
    const guard = new ReceiverGuard(parseAllowList('127.0.0.1').list)
    const deliverer = createDeliverer({ guard, signer: createSigner('${secret}') })
    const { kind } = await deliverer.deliver({ url: '${server.url}', eventId: 'evt_1', body: '{}' })
    console.log(kind)
    deliverer.close()`
  const env = {
    NODE_USE_ENV_PROXY: '1',
    HTTP_PROXY: proxy.url,
    http_proxy: proxy.url,
    HTTPS_PROXY: proxy.url,
  }
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { env })
  let told = ''
  child.stdout.on('data', (text) => {
    told += text
  })
  await new Promise((resolve) => child.on('close', resolve))
  expect(told.trim()).toBe('delivered')
  expect(proxy.all()).toBe(0)
})

describe('over TLS', () => {
  const startTls = async () => {
    const { port, close } = await startHttps((_, response) => response.writeHead(200).end())
    closers.push(close)
    return port
  }

  test('a receiver whose certificate nobody vouches for is not told anything', async () => {
    const url = `https://localhost:${await startTls()}/`
    expect(await delivererFor().deliver(to(url))).toMatchObject({
      kind: 'failed',
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    })
  })

  test('one that has a good certificate is, under its own name only', async () => {
    setDefaultCACertificates([...getCACertificates('default'), localhostCertificate])
    const port = await startTls()
    const deliverer = delivererFor()
    expect(await deliverer.deliver(to(`https://localhost:${port}/`))).toMatchObject({ kind: 'delivered' })
    expect(await deliverer.deliver(to(`https://127.0.0.1:${port}/`))).toMatchObject({
      kind: 'failed',
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
  })
})
