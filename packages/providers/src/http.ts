/**
 * One HTTP call with got, its failure as data.
 *
 * got never retries here, follows nothing and unpacks nothing: whether something may be sent again is decided
 * elsewhere, by what comes back. Every call ends by itself, at the latest after `timeoutMs`, and holds at most
 * {@link bodyLimitBytes} of an answer.
 */
import {
  type ClientRequest,
  Agent as HttpAgent,
  type RequestOptions,
  request as requestHttp,
} from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import type { Socket } from 'node:net'
import { urlToHttpOptions } from 'node:url'
import got, { type Request } from 'got'

/** What to ask for. */
export interface HttpQuestion {
  url: string
  headers: Record<string, string>
  /** From the call to the last byte of the answer, waiting for a free connection included. */
  timeoutMs: number
  signal?: AbortSignal | undefined
}

/** What to post; `content-type: application/json` is always sent beside its headers. */
export interface HttpRequest extends HttpQuestion {
  /** Serialised with JSON.stringify. */
  json: unknown
}

/** An answer that was read whole, or up to the limit. */
export interface HttpReply {
  kind: 'reply'
  status: number
  /** Lower-case names. */
  headers: Record<string, string | string[] | undefined>
  body: string
  /** The body was longer than the limit and the rest was not read. */
  truncated: boolean
}

/** No answer. */
export interface HttpFailure {
  kind: 'failure'
  code: string
  message: string
  /** Whether the request may have reached the provider. */
  written: boolean
}

export interface Http {
  /** Never rejects for anything that the network or the other side does. */
  post(request: HttpRequest): Promise<HttpReply | HttpFailure>
  /** The same for a request without a body. */
  get(question: HttpQuestion): Promise<HttpReply | HttpFailure>
  /** Closes every connection; calls still in flight become failures. */
  close(): void
}

/** More than any documented answer by three orders of magnitude; past it, reading stops. */
export const bodyLimitBytes = 256 * 1024

export interface HttpSettings {
  /** The most connections to one host; further calls wait for a free one. */
  connections: number
  /**
   * How long a free connection is kept. Shorter than Node's default for servers (5 s): a request written into a
   * connection that the other side is closing is lost without anybody knowing whether it was read.
   */
  idleConnectionMs?: number
}

/** Builds the one HTTP client of a process. */
export function createHttp({ connections, idleConnectionMs = 4_000 }: HttpSettings): Http {
  const pool = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections }
  const agent = {
    http: closingIdle(new HttpAgent(pool), idleConnectionMs),
    https: closingIdle(new HttpsAgent(pool), idleConnectionMs),
  }
  const client = got.extend({
    agent,
    request: requestWithoutEmptyOptions,
    // got copies these lists for each call.
    retry: { limit: 0, methods: [], statusCodes: [], errorCodes: [] },
    followRedirect: false,
    decompress: false,
    throwHttpErrors: false,
    headers: { 'user-agent': 'wa-dispatch' },
  })

  return {
    post({ url, headers, json, timeoutMs, signal }) {
      // The stream interface: it costs a quarter less CPU than the promise one, and lets a long body be cut.
      return read(
        client.stream.post(url, {
          headers: { 'content-type': 'application/json', ...headers },
          body: JSON.stringify(json),
          ...(signal && { signal }),
        }),
        url,
        timeoutMs,
      )
    },
    get({ url, headers, timeoutMs, signal }) {
      return read(client.stream.get(url, { headers, ...(signal && { signal }) }), url, timeoutMs)
    },
    close() {
      agent.http.destroy()
      agent.https.destroy()
    },
  }
}

/**
 * Node copies the options of a request twice, and got gives it forty of them, nearly all undefined: to leave these out
 * saves a tenth of what a call costs.
 */
function requestWithoutEmptyOptions(url: URL, { agent, method, headers }: RequestOptions): ClientRequest {
  const { protocol, hostname, port, path } = urlToHttpOptions(url)
  const request = protocol === 'https:' ? requestHttps : requestHttp
  return request({ protocol, hostname, port, path, agent, method, headers })
}

/** The agent's own `timeout` would do the same, and cost each request a timer and its listeners. */
function closingIdle<Pool extends HttpAgent>(agent: Pool, idleMs: number): Pool {
  const keepSocketAlive = agent.keepSocketAlive.bind(agent) as unknown as (socket: Socket) => boolean
  const keep = (socket: Socket): boolean => {
    const keeps = keepSocketAlive(socket)
    // Node's agent closes a free connection whose time is over, and leaves one in use alone.
    if (keeps) socket.setTimeout(idleMs)
    return keeps
  }
  agent.keepSocketAlive = keep as unknown as typeof agent.keepSocketAlive
  return agent
}

function read(stream: Request, url: string, timeoutMs: number): Promise<HttpReply | HttpFailure> {
  return new Promise((resolve) => {
    // One timer for the whole call; got's would be one for each of its phases.
    const timer = setTimeout(() => {
      fail('ETIMEDOUT', `no whole answer within ${timeoutMs} ms`)
      stream.destroy()
    }, timeoutMs)
    const chunks: Buffer[] = []
    let lengthBytes = 0
    // Only code and message leave this function: got's errors hold the request's headers, and those hold secrets.
    const fail = (code: string, message: string) =>
      resolve({ kind: 'failure', code, message, written: mayBeWritten(stream, url) })
    const reply = (truncated: boolean) => {
      const { response } = stream
      if (!response) return fail('ERR_NO_RESPONSE', 'the answer ended before it began')
      const body = Buffer.concat(chunks).toString('utf8')
      resolve({ kind: 'reply', status: response.statusCode, headers: response.headers, body, truncated })
    }
    stream.on('data', (chunk: Buffer) => {
      const room = bodyLimitBytes - lengthBytes
      lengthBytes += chunk.length
      chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk)
      if (lengthBytes <= bodyLimitBytes) return
      reply(true)
      // Closes the connection too, so that an endless body costs nothing more.
      stream.destroy()
    })
    stream.once('end', () => {
      reply(false)
      // A server may answer without reading the request: the rest of it must not hang on, nor the signal's listener.
      // A connection that can be kept is back in the pool by now.
      stream.destroy()
    })
    // `on`, since a second error after the first would otherwise have no listener and end the process.
    stream.on('error', (error: Error & { code?: string }) => fail(error.code ?? 'ERR_UNKNOWN', error.message))
    stream.once('close', () => {
      clearTimeout(timer)
      fail('ERR_CLOSED', 'the connection was closed before an answer came')
    })
    // Without a listener a 101 would leave the request to itself, connection included.
    stream.once('upgrade', () => {
      fail('ERR_UPGRADE', 'the server switched to another protocol')
      stream.destroy()
    })
  })
}

/**
 * Whether a byte may have left: from the moment the connection was ready, it may.
 *
 * got's `timings.upload` would be later than the truth: it is set when the request object is finished, some turns
 * after the last byte of the body went out, and an abort in between would count as never written.
 */
function mayBeWritten(stream: Request, url: string): boolean {
  if (stream.reusedSocket) return true
  const { timings } = stream
  return (url.startsWith('https:') ? timings?.secureConnect : timings?.connect) !== undefined
}
