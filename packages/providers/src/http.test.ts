import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { bodyLimitBytes } from './http.ts'
import { httpBench, okReply, posting, secret } from './testing/http-bench.ts'
import { onWholeRequest, startHttp, startSocket } from './testing/loopback.ts'

const { http, client, serving } = httpBench()

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
    const narrow = client({ connections: 3 })
    const replies = await Promise.all(Array.from({ length: 30 }, () => narrow.post(posting(url))))
    expect(replies.filter(({ kind }) => kind === 'reply')).toHaveLength(30)
    expect(connections).toBe(3)
  })

  test('that are free are closed by us before the server does it', async () => {
    const short = client({ connections: 1, idleConnectionMs: 60 })
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
    const patient = client({ connections: 1, idleConnectionMs: 60_000 })
    const long = posting(url, { json: { long: 'x'.repeat(20_000_000) }, timeoutMs: 60_000 })
    const { signal } = new AbortController()
    expect(await patient.post({ ...long, signal })).toMatchObject({ kind: 'reply', status: 413, body: 'no' })
    expect(getEventListeners(signal, 'abort')).toEqual([])
    await closing
  })

  test('listeners on a shared signal go away with their call', async () => {
    const { signal } = new AbortController()
    const { url } = await serving(startHttp((_, response) => response.end('{}')))
    for (let call = 0; call < 20; call++) await http.post(posting(url, { signal }))
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('an answer slower than the idle time is still waited for', async () => {
    const short = client({ connections: 1, idleConnectionMs: 60 })
    const { url } = await serving(startHttp((_, response) => setTimeout(() => response.end('{}'), 250)))
    expect(await short.post(posting(url))).toMatchObject({ kind: 'reply', status: 200 })
  })
})
