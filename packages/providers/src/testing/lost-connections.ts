/** A connection that breaks, phase by phase: before the write nothing is lost, after it nothing is known. */
import { describe, expect, test } from 'vitest'
import type { Bench } from './describe-provider.ts'
import { closedPort, onWholeRequest, startSocket } from './loopback.ts'

const uncertain = { outcome: 'uncertain', answered: false }

/** What the server still says before it cuts the connection. */
const lastWords = {
  'after the request was read': '',
  'in the middle of the headers': 'HTTP/1.1 200 OK\r\ncontent-ty',
  'in the middle of the body': 'HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n{"code":"WA202",',
} satisfies Record<string, string>

export function describeLostConnections({ provider, send }: Bench): void {
  describe.concurrent(`${provider.name}: a connection that breaks`, () => {
    test('before it is there', async () => {
      const outcome = await send(`http://127.0.0.1:${await closedPort()}`)
      expect(outcome).toMatchObject({ outcome: 'unavailable', code: 'ECONNREFUSED' })
    })

    test('before TLS is ready', async () => {
      const server = await startSocket((socket) => socket.once('data', () => socket.resetAndDestroy()))
      expect(await send(`https://127.0.0.1:${server.port}`)).toMatchObject({ outcome: 'unavailable' })
      await server.close()
    })

    test.for(Object.entries(lastWords))('%s', async ([, words]) => {
      const server = await startSocket((socket) => onWholeRequest(socket, () => socket.end(words)))
      expect(await send(server.url)).toMatchObject(uncertain)
      await server.close()
    })

    test('in none of these ways, but says nothing', async () => {
      const server = await startSocket(() => {})
      expect(await send(server.url, { timeoutMs: 250 })).toMatchObject({ ...uncertain, code: 'ETIMEDOUT' })
      await server.close()
    })

    test('not at all, but its body never ends', async () => {
      const start = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n'
      const server = await startSocket((socket) => onWholeRequest(socket, () => socket.write(start)))
      expect(await send(server.url, { timeoutMs: 250 })).toMatchObject({ ...uncertain, code: 'ETIMEDOUT' })
      await server.close()
    })
  })
}
