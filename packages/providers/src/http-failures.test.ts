import { describe, expect, test } from 'vitest'
import { httpBench, okReply, posting, secret } from './testing/http-bench.ts'
import { closedPort, onWholeRequest, startHttp, startSocket } from './testing/loopback.ts'

const { http, client, serving } = httpBench()

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
    const narrow = client({ connections: 1 })
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
