/** Where the demo, as a caller, is told what becomes of its messages: what it cannot verify, it does not believe. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'

export interface Receiver {
  url: string
  /** What it verifies with, `whsec_…`. */
  secret: string
  /** What it heard of each message, by its id, in order: `message.submitted`, … */
  heard: ReadonlyMap<string, string[]>
  /** Requests that were not believed. */
  refused(): number
  close(): Promise<void>
}

export async function startReceiver(): Promise<Receiver> {
  const secret = `whsec_${randomBytes(32).toString('base64')}`
  const webhook = new Webhook(secret)
  const heard = new Map<string, string[]>()
  const known = new Set<string>()
  let refused = 0
  const server = createServer(async (request, response) => {
    try {
      const headers = request.headers as Record<string, string>
      const { type, data } = webhook.verify(await text(request), headers) as Event
      // The same event may come twice: when our answer was lost.
      if (!known.has(headers['webhook-id']!)) heard.set(data.id, [...(heard.get(data.id) ?? []), type])
      known.add(headers['webhook-id']!)
      response.writeHead(204).end()
    } catch {
      refused += 1
      response.writeHead(400).end()
    }
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/told`,
    secret,
    heard,
    refused: () => refused,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Event {
  type: string
  data: { id: string }
}
