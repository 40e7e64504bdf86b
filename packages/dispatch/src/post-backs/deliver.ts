/**
 * One post-back, one HTTP call, an outcome as data.
 *
 * got never retries here, follows nothing and unpacks nothing. Nobody here wants what a receiver answers: its status
 * tells everything, the body is thrown away.
 */
import { retryAfterMs } from '@wa-dispatch/providers'
import got, { type Request } from 'got'
import manifest from '../../package.json' with { type: 'json' }
import { createGuardedAgents } from './guarded-agents.ts'
import { ADDRESS_REFUSED, type ReceiverGuard, readUrl, targetOf } from './receiver-address.ts'
import type { Signer } from './sign.ts'

/**
 * - `delivered`: a 2xx.
 * - `failed`: anything else, redirects too; worth another try.
 * - `refused-address`: nothing was connected to; see receiver-address.ts.
 * - `gone`: 410, with which a receiver says that it wants no more (Standard Webhooks, "Operational considerations").
 */
export type DeliveryKind = 'delivered' | 'failed' | 'refused-address' | 'gone'

export interface Delivery {
  kind: DeliveryKind
  /** The status, or why there is none: `ETIMEDOUT`, `ECONNREFUSED`, …; at most 40 characters. */
  code: string
  durationMs: number
  /** What the receiver asked for, from now. */
  retryAfterMs?: number
}

export interface DeliveryRequest {
  url: string
  eventId: string
  body: string
}

export interface Deliverer {
  /** Never rejects for anything that the network or the receiver does. */
  deliver(request: DeliveryRequest): Promise<Delivery>
  /** Closes every connection; calls still in flight become failures. */
  close(): void
}

export interface DelivererSettings {
  guard: ReceiverGuard
  signer: Signer
  /** From the call to the last byte of the answer, the look-up of the name included. */
  timeoutMs?: number
  /** The most connections to one receiver. */
  connections?: number
}

export const DELIVERY_TIMEOUT_MS = 15_000
/** Reading so much of an answer is cheaper than a new connection for the next call. */
const BODY_LIMIT_BYTES = 64 * 1024
const LONGEST_CODE = 40

export function createDeliverer({
  guard,
  signer,
  timeoutMs = DELIVERY_TIMEOUT_MS,
  connections = 50,
}: DelivererSettings): Deliverer {
  const agent = createGuardedAgents(guard, connections)
  const client = got.extend({
    agent,
    retry: { limit: 0 },
    followRedirect: false,
    decompress: false,
    throwHttpErrors: false,
    headers: { 'user-agent': `wa-dispatch/${manifest.version}`, 'content-type': 'application/json' },
  })
  return {
    async deliver({ url: text, eventId, body }) {
      const url = readUrl(text)
      if (typeof url === 'string' || guard.refuse(targetOf(url)) !== undefined)
        return { kind: 'refused-address', code: ADDRESS_REFUSED, durationMs: 0 }
      const headers = { ...signer.sign(eventId, new Date(), body) }
      return outcomeOf(client.stream.post(url, { headers, body }), timeoutMs)
    },
    close() {
      agent.http.destroy()
      agent.https.destroy()
    },
  }
}

function outcomeOf(stream: Request, timeoutMs: number): Promise<Delivery> {
  const startedAt = performance.now()
  return new Promise((resolve) => {
    /** @param code where no status has come */
    const end = (code: string) => {
      clearTimeout(timer)
      const durationMs = Math.round(performance.now() - startedAt)
      // Once it is there, the status counts, whatever becomes of the body.
      resolve({ ...(stream.response ? answered(stream.response) : unanswered(code)), durationMs })
      stream.destroy()
    }
    const timer = setTimeout(() => end('ETIMEDOUT'), timeoutMs)
    let lengthBytes = 0
    stream.on('data', (chunk: Buffer) => {
      lengthBytes += chunk.length
      if (lengthBytes > BODY_LIMIT_BYTES) end('')
    })
    stream.once('end', () => end('ERR_NO_RESPONSE'))
    // `on`, since a second error after the first would otherwise have no listener and end the process.
    // Of an error only the code leaves this function: got's errors hold the request's headers.
    stream.on('error', (error: Error & { code?: string }) => end(error.code ?? 'ERR_UNKNOWN'))
    stream.once('close', () => end('ERR_CLOSED'))
    // Without a listener a 101 would leave the request to itself, connection included.
    stream.once('upgrade', () => end('ERR_UPGRADE'))
  })
}

interface Answer {
  statusCode: number
  headers: Record<string, string | string[] | undefined>
}

function answered({ statusCode, headers }: Answer): Omit<Delivery, 'durationMs'> {
  const code = String(statusCode)
  if (statusCode >= 200 && statusCode < 300) return { kind: 'delivered', code }
  if (statusCode === 410) return { kind: 'gone', code }
  const waitMs = retryAfterMs(headers['retry-after'])
  return { kind: 'failed', code, ...(waitMs !== undefined && { retryAfterMs: waitMs }) }
}

const unanswered = (code: string): Omit<Delivery, 'durationMs'> =>
  code === ADDRESS_REFUSED
    ? { kind: 'refused-address', code }
    : { kind: 'failed', code: code.slice(0, LONGEST_CODE) }
