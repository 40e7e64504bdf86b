/** A client, and servers that go away with the test file. */
import { afterAll } from 'vitest'
import { createHttp, type Http, type HttpRequest, type HttpSettings } from '../http.ts'
import type { Loopback } from './loopback.ts'

/** In the headers of every request of {@link posting}: it must never come back. */
export const secret = 'sk_very-secret-token'

/** The shortest whole answer. */
export const okReply = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'

/** To be called at the top of a test file. */
export function httpBench() {
  const opened: { close(): unknown }[] = []
  afterAll(async () => {
    for (const one of opened) await one.close()
  })
  const client = (settings: HttpSettings): Http => {
    const http = createHttp(settings)
    opened.push(http)
    return http
  }
  const serving = async <Server extends Loopback>(server: Promise<Server>): Promise<Server> => {
    const started = await server
    opened.push(started)
    return started
  }
  return { http: client({ connections: 50 }), client, serving }
}

/** A request with a secret in its headers. */
export function posting(url: string, more: Partial<HttpRequest> = {}): HttpRequest {
  return { url, headers: { authorization: secret }, json: { hello: 'world' }, timeoutMs: 3_000, ...more }
}
