/** Between a process and its Redis: a connection can be made to stay open and to carry nothing any more. */

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { OnEnd } from './endings.ts'

export interface SwallowingProxy {
  url: string
  /** From now on whatever is given to connections that ever carried `text` is lost, both ways; also to new ones. */
  swallow(text: string): void
}

export async function startSwallowingProxy(redisUrl: string, onEnd: OnEnd): Promise<SwallowingProxy> {
  const target = new URL(redisUrl)
  const sockets = new Set<Socket>()
  let swallowed: string | undefined
  const server = createServer((client) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port) })
    const carried = new Set<string>()
    let rest = ''
    const isLost = () => swallowed !== undefined && carried.has(swallowed)
    client.on('data', (data) => {
      // Names that may be asked for are of the form `:word`, in keys; a name may come in two pieces.
      const text = rest + data.toString('latin1')
      for (const [name] of text.matchAll(/:[a-z-]+(?=\r\n)/g)) carried.add(name)
      rest = text.slice(-100)
      if (!isLost()) upstream.write(data)
    })
    upstream.on('data', (data) => {
      if (!isLost()) client.write(data)
    })
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onEnd(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as { port: number }
  return {
    url: `redis://127.0.0.1:${port}`,
    swallow: (text) => {
      swallowed = text
    },
  }
}
