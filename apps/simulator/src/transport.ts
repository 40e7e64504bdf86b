/** Everything that goes over the wire, or deliberately does not. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Answer } from './systems/system.ts'

/** How an answer is handed over. */
export interface Delivery {
  latencyMs: number
  slowBody: { chunkBytes: number; intervalMs: number } | undefined
  /** Promises the whole body and cuts the connection half-way. */
  cutBody: boolean
}

/** Writes an answer at once; the way of every request that no fault touches. */
export function write(response: ServerResponse, answer: Answer): void {
  response.writeHead(answer.status, headersOf(answer, Buffer.byteLength(answer.body)))
  response.end(answer.body)
}

/** Writes an answer late, slowly, or in part. */
export function deliver(response: ServerResponse, answer: Answer, delivery: Delivery): void {
  if (delivery.latencyMs > 0) {
    later(response, delivery.latencyMs, () => deliver(response, answer, { ...delivery, latencyMs: 0 }))
  } else if (delivery.cutBody) {
    const body = Buffer.from(answer.body)
    response.writeHead(answer.status, headersOf(answer, body.length))
    response.write(body.subarray(0, Math.floor(body.length / 2)), () => response.destroy())
  } else if (delivery.slowBody !== undefined) {
    dribble(response, answer, delivery.slowBody)
  } else {
    write(response, answer)
  }
}

/** Closes the connection without an answer. */
export function cut(response: ServerResponse, latencyMs: number): void {
  if (latencyMs > 0) later(response, latencyMs, () => response.destroy())
  else response.destroy()
}

/** Resets the connection: the peer meets ECONNRESET. */
export function reset(request: IncomingMessage, response: ServerResponse, latencyMs: number): void {
  if (latencyMs > 0) later(response, latencyMs, () => request.socket.resetAndDestroy())
  else request.socket.resetAndDestroy()
}

function headersOf(answer: Answer, length: number): Record<string, string | number> {
  const headers: Record<string, string | number> = {
    'content-type': 'application/json; charset=utf-8',
    'content-length': length,
  }
  return answer.headers === undefined ? headers : Object.assign(headers, answer.headers)
}

function later(response: ServerResponse, delayMs: number, act: () => void): void {
  const timer = setTimeout(() => {
    if (!response.destroyed) act()
  }, delayMs)
  response.once('close', () => clearTimeout(timer))
}

function dribble(
  response: ServerResponse,
  answer: Answer,
  { chunkBytes, intervalMs }: { chunkBytes: number; intervalMs: number },
): void {
  const body = Buffer.from(answer.body)
  response.writeHead(answer.status, headersOf(answer, body.length))
  response.flushHeaders()
  let sent = 0
  const timer = setInterval(() => {
    const chunk = body.subarray(sent, sent + chunkBytes)
    sent += chunk.length
    if (sent < body.length) {
      response.write(chunk)
      return
    }
    clearInterval(timer)
    response.end(chunk)
  }, intervalMs)
  response.once('close', () => clearInterval(timer))
}
