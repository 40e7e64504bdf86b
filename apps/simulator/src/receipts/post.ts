/** One POST over kept connections: got or fetch would cost several times as much at thousands a second. */
import {
  type ClientRequest,
  Agent as HttpAgent,
  type RequestOptions,
  request as requestHttp,
} from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'

/** What came back: a status, or the transport's code. */
export type PostAnswer = number | string

export interface Poster {
  post(target: Target, body: string, timeoutMs: number): Promise<PostAnswer>
  close(): void
}

/** Where a receipt goes. */
export interface Target {
  url: string
  headers: Record<string, string>
}

/** More different addresses than this are not remembered in parsed form. */
const mostAddresses = 1000

export function createPoster(): Poster {
  const pool = { keepAlive: true, maxFreeSockets: 5000, scheduling: 'fifo' as const }
  const agents = { http: new HttpAgent(pool), https: new HttpsAgent(pool) }
  const addresses = new Map<string, RequestOptions>()

  function optionsOf(url: string): RequestOptions {
    const known = addresses.get(url)
    if (known !== undefined) return known
    const { protocol, hostname, port, pathname, search } = new URL(url)
    const secure = protocol === 'https:'
    const options = {
      protocol,
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port: port || (secure ? 443 : 80),
      path: pathname + search,
      method: 'POST',
      agent: secure ? agents.https : agents.http,
    }
    if (addresses.size < mostAddresses) addresses.set(url, options)
    return options
  }

  return {
    async post(target, body, timeoutMs) {
      const first = await postOnce(optionsOf(target.url), target.headers, body, timeoutMs)
      // The receiver closed a kept connection just when it was used: that says nothing about the receiver.
      if (!first.stale) return first.answer
      return (await postOnce(optionsOf(target.url), target.headers, body, timeoutMs)).answer
    },
    close() {
      agents.http.destroy()
      agents.https.destroy()
    },
  }
}

function postOnce(
  options: RequestOptions,
  headers: Record<string, string>,
  body: string,
  timeoutMs: number,
): Promise<{ answer: PostAnswer; stale: boolean }> {
  return new Promise((resolve) => {
    const send = options.protocol === 'https:' ? requestHttps : requestHttp
    const request: ClientRequest = send({
      ...options,
      headers: {
        'content-type': 'application/json',
        ...headers,
        'content-length': Buffer.byteLength(body),
      },
    })
    const timer = setTimeout(() => request.destroy(new TimeoutError()), timeoutMs)
    request.on('response', (response) => {
      response.resume()
      response.on('close', () => {
        clearTimeout(timer)
        resolve({ answer: response.statusCode!, stale: false })
      })
    })
    request.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      const code = error.code ?? 'ERR_UNKNOWN'
      resolve({ answer: code, stale: request.reusedSocket && (code === 'ECONNRESET' || code === 'EPIPE') })
    })
    request.end(body)
  })
}

class TimeoutError extends Error {
  readonly code = 'ETIMEDOUT'
}
