import { getEventListeners } from 'node:events'
import { afterAll, describe, expect, test } from 'vitest'
import { bodyLimitBytes, createHttp, type HttpRequest } from './http.ts'
import { closedPort, type Loopback, onWholeRequest, startHttp, startSocket } from './testing/loopback.ts'

const http = createHttp({ connections: 50 })
const servers: { close(): unknown }[] = [http]
afterAll(async () => {
  for (const server of servers) await server.close()
})

async function serving<Server extends Loopback>(server: Promise<Server>): Promise<Server> {
  const started = await server
  servers.push(started)
  return started
}

const secret = 'sk_very-secret-token'

function posting(url: string, more: Partial<HttpRequest> = {}): HttpRequest {
  return { url, headers: { authorization: secret }, json: { hello: 'world' }, timeoutMs: 3_000, ...more }
}

const okReply = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'

describe.concurrent('a failure before the request was written is safe to send again', () => {
  test('nobody listens', async () => {
    const reply = await http.post(posting(`http://127.0.0.1:${await closedPort()}/`))
    expect(reply).toMatchObject({ kind: 'failure', code: 'ECONNREFUSED', written: false })
  })

  test('the name cannot be looked up', async () => {
    // A label of more than 63 characters fails without a question to any name server.
    const reply = await http.post(posting(`http://${'a'.repeat(64)}.invalid/`))
    expect(reply).toMatchObject({ kind: 'failure', code: 'ENOTFOUND', written: false })
  })

  test('the server does not speak TLS', async () => {
    const { port, received } = await serving(startHttp((_, response) => response.end('{}')))
    const reply = await http.post(posting(`https://127.0.0.1:${port}/`))
    expect(reply).toMatchObject({ kind: 'failure', written: false })
    expect(received).toEqual([])
  })

  test('the connection is cut during the TLS handshake', async () => {
    const { port } = await serving(
      startSocket((socket) => socket.once('data', () => socket.resetAndDestroy())),
    )
    const reply = await http.post(posting(`https://127.0.0.1:${port}/`))
    expect(reply).toMatchObject({ kind: 'failure', code: 'ECONNRESET', written: false })
  })

  test('the connection is not ready in time', async () => {
    const { port } = await serving(startSocket(() => {}))
    const reply = await http.post(posting(`https://127.0.0.1:${port}/`, { timeoutMs: 150 }))
    expect(reply).toMatchObject({ kind: 'failure', code: 'ETIMEDOUT', written: false })
  })

  test('no connection becomes free in time', async () => {
    const { url } = await serving(startSocket(() => {}))
    const narrow = createHttp({ connections: 1 })
    servers.push(narrow)
    const first = narrow.post(posting(url, { timeoutMs: 400 }))
    const second = narrow.post(posting(url, { timeoutMs: 150 }))
    expect(await second).toMatchObject({ kind: 'failure', code: 'ETIMEDOUT', written: false })
    expect(await first).toMatchObject({ kind: 'failure', code: 'ETIMEDOUT', written: true })
  })

  test('it is aborted before it begins, and while it connects', async () => {
    const { port } = await serving(startSocket((socket) => socket.once('data', () => abort.abort())))
    const abort = new AbortController()
    const url = `https://127.0.0.1:${port}/`
    const early = await http.post(posting(url, { signal: AbortSignal.abort() }))
    expect(early).toMatchObject({ kind: 'failure', code: 'ERR_ABORTED', written: false })
    const connecting = await http.post(posting(url, { signal: abort.signal }))
    expect(connecting).toMatchObject({ kind: 'failure', code: 'ERR_ABORTED', written: false })
  })

  test('a header that cannot be written is a failure, not an exception', async () => {
    const { url, received } = await serving(startHttp((_, response) => response.end('{}')))
    const reply = await http.post(posting(url, { headers: { 'api-key': `${secret}\r\nx: y` } }))
    expect(reply).toMatchObject({ kind: 'failure', written: false })
    expect(JSON.stringify(reply)).not.toContain(secret)
    expect(received).toEqual([])
  })
})

describe.concurrent('a failure after the request may have been written is uncertain', () => {
  const cuts: Record<string, string> = {
    'nothing was answered': '',
    'half the status line was answered': 'HTTP/1.1 20',
    'half the headers were answered': 'HTTP/1.1 200 OK\r\ncontent-le',
    'half the body was answered': 'HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"half":',
    'half a chunked body was answered':
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{"half":\r\n',
  }
  test.for(Object.entries(cuts))('cut when %s', async ([, answer]) => {
    const reset = await serving(
      startSocket((socket) => {
        onWholeRequest(socket, () =>
          socket.write(answer, () => setTimeout(() => socket.resetAndDestroy(), 20)),
        )
      }),
    )
    const ended = await serving(
      startSocket((socket) => {
        onWholeRequest(socket, () => socket.end(answer))
      }),
    )
    const replies = await Promise.all([http.post(posting(reset.url)), http.post(posting(ended.url))])
    for (const reply of replies) expect(reply).toMatchObject({ kind: 'failure', written: true })
  })

  test('reset before the body is read', async () => {
    const { url } = await serving(
      startSocket((socket) => socket.once('data', () => socket.resetAndDestroy())),
    )
    const json = { long: 'x'.repeat(2_000_000) }
    expect(await http.post(posting(url, { json }))).toMatchObject({ kind: 'failure', written: true })
  })

  test('an answer that is not HTTP', async () => {
    const { url } = await serving(
      startSocket((socket) => onWholeRequest(socket, () => socket.end('SSH-2.0-x\r\n'))),
    )
    expect(await http.post(posting(url))).toMatchObject({ kind: 'failure', written: true })
  })

  test('an answer that switches to another protocol', async () => {
    const upgrade = 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'
    const { url } = await serving(
      startSocket((socket) => onWholeRequest(socket, () => socket.write(upgrade))),
    )
    expect(await http.post(posting(url))).toMatchObject({
      kind: 'failure',
      code: 'ERR_UPGRADE',
      written: true,
    })
  })

  test('no answer in time', async () => {
    const { url } = await serving(startSocket(() => {}))
    const reply = await http.post(posting(url, { timeoutMs: 150 }))
    expect(reply).toMatchObject({ kind: 'failure', code: 'ETIMEDOUT', written: true })
    expect(JSON.stringify(reply)).not.toContain(secret)
  })

  test('a body that does not end in time', async () => {
    const slow = (_: unknown, response: import('node:http').ServerResponse) => {
      response.write('{')
      const drip = setInterval(() => response.write(' '), 20)
      response.on('close', () => clearInterval(drip))
    }
    const { url } = await serving(startHttp(slow))
    const reply = await http.post(posting(url, { timeoutMs: 200 }))
    expect(reply).toMatchObject({ kind: 'failure', code: 'ETIMEDOUT', written: true })
  })

  test('aborted when the server has the whole request, although got has not yet finished it', async () => {
    const abort = new AbortController()
    const { url } = await serving(startSocket((socket) => onWholeRequest(socket, () => abort.abort())))
    const json = { long: 'x'.repeat(200_000) }
    const reply = await http.post(posting(url, { signal: abort.signal, json }))
    expect(reply).toMatchObject({ kind: 'failure', code: 'ERR_ABORTED', written: true })
  })

  test('a kept connection that the server cuts on its second request', async () => {
    let connections = 0
    const { url } = await serving(
      startSocket((socket) => {
        connections += 1
        let requests = 0
        onWholeRequest(socket, () => (++requests === 1 ? socket.write(okReply) : socket.resetAndDestroy()))
      }),
    )
    expect(await http.post(posting(url))).toMatchObject({ kind: 'reply', status: 200 })
    expect(await http.post(posting(url))).toMatchObject({ kind: 'failure', written: true })
    expect(connections).toBe(1)
  })
})

describe.concurrent('an answer', () => {
  test('is read with its status, headers and body, whatever the status', async () => {
    const { url, received } = await serving(
      startHttp((_, response) => response.writeHead(503, { 'Retry-After': '7' }).end('später')),
    )
    const reply = await http.post(posting(`${url}/a/b`, { json: { emoji: '😀' } }))
    expect(reply).toMatchObject({ kind: 'reply', status: 503, body: 'später', truncated: false })
    expect(reply).toMatchObject({ headers: { 'retry-after': '7' } })
    expect(received).toHaveLength(1)
    expect(received[0]).toMatchObject({ method: 'POST', path: '/a/b', body: '{"emoji":"😀"}' })
  })

  test('carries only the headers it was given, a content type and a plain user agent', async () => {
    const { url, received } = await serving(
      startHttp((_, response) => response.setHeader('set-cookie', 'a=b').end('{}')),
    )
    await http.post(posting(url))
    await http.post(posting(url))
    expect(received[1]?.headers).toEqual({
      host: url.slice('http://'.length),
      connection: 'keep-alive',
      'content-length': '17',
      'content-type': 'application/json',
      'user-agent': 'wa-dispatch',
      authorization: secret,
    })
  })

  test('that redirects is not followed', async () => {
    const elsewhere = await serving(startHttp((_, response) => response.end('{}')))
    const { url } = await serving(
      startHttp((_, response) => response.writeHead(307, { location: elsewhere.url }).end()),
    )
    expect(await http.post(posting(url))).toMatchObject({ kind: 'reply', status: 307 })
    expect(elsewhere.received).toEqual([])
  })

  test('without an end is cut at the limit and its connection closed', async () => {
    let closed = () => {}
    const closing = new Promise<void>((resolve) => {
      closed = resolve
    })
    const endless = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
    const { url } = await serving(
      startSocket((socket) => {
        const pour = () => {
          while (!socket.destroyed && socket.write(chunk));
        }
        onWholeRequest(socket, () => {
          socket.write(endless)
          socket.on('drain', pour)
          pour()
        })
        socket.on('close', closed)
      }),
    )
    const reply = await http.post(posting(url, { timeoutMs: 60_000 }))
    expect(reply).toMatchObject({ kind: 'reply', status: 200, truncated: true })
    expect(reply.kind === 'reply' && reply.body.length).toBe(bodyLimitBytes)
    await closing
  })

  test('of exactly the limit is whole', async () => {
    const body = 'x'.repeat(bodyLimitBytes)
    const { url } = await serving(startHttp((_, response) => response.end(body)))
    expect(await http.post(posting(url))).toMatchObject({ kind: 'reply', truncated: false, body })
  })
})

describe.concurrent('connections', () => {
  test('are kept, and never more than allowed', async () => {
    let connections = 0
    const { url } = await serving(
      startSocket((socket) => {
        connections += 1
        onWholeRequest(socket, () => setTimeout(() => socket.write(okReply), 5))
      }),
    )
    const narrow = createHttp({ connections: 3 })
    servers.push(narrow)
    const replies = await Promise.all(Array.from({ length: 30 }, () => narrow.post(posting(url))))
    expect(replies.filter(({ kind }) => kind === 'reply')).toHaveLength(30)
    expect(connections).toBe(3)
  })

  test('that are free are closed by us before the server does it', async () => {
    const short = createHttp({ connections: 1, idleConnectionMs: 60 })
    servers.push(short)
    const closedByUs = new Promise<string>((resolve) => {
      const server = startSocket((socket) => {
        onWholeRequest(socket, () => socket.write(okReply))
        socket.on('end', () => resolve('closed'))
      })
      serving(server).then(({ url }) => short.post(posting(url)))
    })
    expect(await closedByUs).toBe('closed')
  })

  test('on which the server answers without reading the request are closed', async () => {
    let closed = () => {}
    const closing = new Promise<void>((resolve) => {
      closed = resolve
    })
    const { url } = await serving(
      startSocket((socket) => {
        socket.pause()
        socket.write('HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno')
        socket.on('close', closed)
        setTimeout(() => socket.resume(), 200)
      }),
    )
    // Neither the time-out nor the idle time may be what closes it.
    const patient = createHttp({ connections: 1, idleConnectionMs: 60_000 })
    servers.push(patient)
    const long = posting(url, { json: { long: 'x'.repeat(20_000_000) }, timeoutMs: 60_000 })
    expect(await patient.post(long)).toMatchObject({ kind: 'reply', status: 413, body: 'no' })
    await closing
  })

  test('listeners on a shared signal go away with their call', async () => {
    const { signal } = new AbortController()
    const { url } = await serving(startHttp((_, response) => response.end('{}')))
    for (let call = 0; call < 20; call++) await http.post(posting(url, { signal }))
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('an answer slower than the idle time is still waited for', async () => {
    const short = createHttp({ connections: 1, idleConnectionMs: 60 })
    servers.push(short)
    const { url } = await serving(startHttp((_, response) => setTimeout(() => response.end('{}'), 250)))
    expect(await short.post(posting(url))).toMatchObject({ kind: 'reply', status: 200 })
  })
})
