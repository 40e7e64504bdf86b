/** Real servers on loopback for tests: one that speaks HTTP, one that is only a socket. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import {
  type AddressInfo,
  createServer as createSocketServer,
  type Server as NetServer,
  type Socket,
} from 'node:net'

/** A request as it came over the wire. */
export interface Received {
  method: string
  path: string
  headers: IncomingMessage['headers']
  body: string
}

export interface Loopback {
  /** `http://127.0.0.1:<port>` */
  url: string
  port: number
  close(): Promise<void>
}

/** An HTTP server that hands over each request once it is read whole. */
export async function startHttp(
  answer: (request: Received, response: ServerResponse) => void,
  create: (listener: RequestListener) => Server = createServer,
): Promise<Loopback & { received: Received[] }> {
  const received: Received[] = []
  const server = create((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('error', () => {})
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request
      const one = { method, path, headers, body: Buffer.concat(chunks).toString('utf8') }
      received.push(one)
      answer(one, response)
    })
  })
  const loopback = await listen(server)
  const close = async () => {
    server.closeAllConnections()
    await loopback.close()
  }
  return { ...loopback, close, received }
}

/** A server that knows nothing of HTTP: for each connection the test decides what happens. */
export async function startSocket(onSocket: (socket: Socket) => void): Promise<Loopback> {
  const sockets = new Set<Socket>()
  const server = createSocketServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    onSocket(socket)
  })
  const loopback = await listen(server)
  const close = async () => {
    for (const socket of sockets) socket.destroy()
    await loopback.close()
  }
  return { ...loopback, close }
}

/** Runs `then` once a connection has sent as much of a request as its headers announce. */
export function onWholeRequest(socket: Socket, then: (request: string) => void): void {
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    const end = text.indexOf('\r\n\r\n')
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
    if (end === -1 || text.length < end + 4 + length) return
    const request = text
    text = ''
    then(request)
  })
}

/** A port that nobody listens on. */
export async function closedPort(): Promise<number> {
  const { port, close } = await startSocket(() => {})
  await close()
  return port
}

async function listen(server: Server | NetServer): Promise<Loopback> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  const close = () => new Promise<void>((resolve) => server.close(() => resolve()))
  return { url: `http://127.0.0.1:${port}`, port, close }
}
