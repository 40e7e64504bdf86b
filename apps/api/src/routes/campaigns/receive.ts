/** The body of an upload while it arrives: however long that takes, as long as it goes on. */
import type { IncomingMessage } from 'node:http'
import { PassThrough, type Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { Problem } from '../../problems.ts'

/** How often it is looked whether anything arrived. */
const LOOKS = 10
const LINGER_MS = 5_000

/** The client went away: nobody waits for an answer. */
export class BrokenUploadError extends Error {
  override name = 'BrokenUploadError'
}

export interface Received {
  /** The bytes; fails with a {@link BrokenUploadError}, or a {@link Problem} when nothing arrives any more. */
  body: Readable
  /** Ends it early with this error. */
  stop(error: Error): void
  /** To be called when nothing more of it is wanted. */
  release(): void
}

/**
 * @param request stays open, whatever becomes of the body: it waits for its answer
 * @param idleMs for how long nothing may arrive while something could be taken
 */
export function receive(request: IncomingMessage, idleMs: number): Received {
  const body = new PassThrough()
  const broken = () => {
    if (!request.complete) body.destroy(new BrokenUploadError('the client went away'))
  }
  let arrived = -1
  let idleLooks = 0
  const timer = setInterval(() => {
    const { bytesRead } = request.socket
    // What lies here already waits for us, not for the client.
    const idle = bytesRead === arrived && body.readableLength === 0 && body.writableLength === 0
    idleLooks = idle ? idleLooks + 1 : 0
    arrived = bytesRead
    if (idleLooks >= LOOKS) body.destroy(stalled(idleMs))
  }, idleMs / LOOKS)

  request.on('error', broken).on('close', broken)
  request.pipe(body)
  body.on('error', () => {}) // whoever reads it is told as well
  if (request.destroyed) broken()
  return {
    body,
    stop: (error) => void body.destroy(error),
    release() {
      clearInterval(timer)
      request.off('close', broken)
      request.unpipe(body)
      body.destroy()
    },
  }
}

const stalled = (idleMs: number) =>
  new Problem('timeout', `Nothing more of the body arrived for ${Math.round(idleMs / 1000)} s.`)

/**
 * An answer to a request that is still being sent: the connection is closed only when the rest has been thrown away,
 * or after a while. Closing at once would reset it, and many clients would lose the answer.
 */
export async function* lingering(answer: string, request: IncomingMessage): AsyncGenerator<Buffer> {
  yield Buffer.from(answer)
  if (request.complete || request.destroyed) return
  const waiting = new AbortController()
  const done = () => waiting.abort()
  request.once('end', done).once('close', done).resume()
  await sleep(LINGER_MS, undefined, { signal: waiting.signal, ref: false }).catch(() => undefined)
}
