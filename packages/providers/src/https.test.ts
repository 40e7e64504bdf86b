/** What the real providers are reached by. */
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { expect, test } from 'vitest'
import { httpBench, posting } from './testing/http-bench.ts'
import { localhostCertificate, startHttps } from './testing/https.ts'

const { client, serving } = httpBench()

test('a server whose certificate nobody vouches for gets nothing', async () => {
  const { port, received } = await serving(startHttps((_, response) => response.end('{}')))
  const reply = await client({ connections: 1 }).post(posting(`https://localhost:${port}/`))
  expect(reply).toMatchObject({ kind: 'failure', code: 'DEPTH_ZERO_SELF_SIGNED_CERT', written: false })
  expect(received).toEqual([])
})

test('one with a good certificate gets its request, under its own name only, on a connection that is kept', async () => {
  setDefaultCACertificates([...getCACertificates('default'), localhostCertificate])
  const ports: (number | undefined)[] = []
  const { port, received } = await serving(
    startHttps((_, response) => {
      ports.push(response.socket?.remotePort)
      response.end('{}')
    }),
  )
  const http = client({ connections: 5 })
  for (const path of ['/a?b=c', '/d'])
    expect(await http.post(posting(`https://localhost:${port}${path}`))).toMatchObject({
      kind: 'reply',
      status: 200,
    })
  expect(received.map(({ method, path, body }) => ({ method, path, body }))).toEqual([
    { method: 'POST', path: '/a?b=c', body: '{"hello":"world"}' },
    { method: 'POST', path: '/d', body: '{"hello":"world"}' },
  ])
  expect(received[0]?.headers.host).toBe(`localhost:${port}`)
  expect(new Set(ports).size).toBe(1)
  const other = await http.post(posting(`https://127.0.0.1:${port}/`))
  expect(other).toMatchObject({ kind: 'failure', code: 'ERR_TLS_CERT_ALTNAME_INVALID', written: false })
  expect(received).toHaveLength(2)
})

test('what is lost after the request was written over TLS may have arrived', async () => {
  const { port } = await serving(startHttps((_, response) => response.socket?.destroy()))
  const reply = await client({ connections: 1 }).post(posting(`https://localhost:${port}/`))
  expect(reply).toMatchObject({ kind: 'failure', written: true })
})
