import { setTimeout as sleep } from 'node:timers/promises'
import type { MessageView } from '@wa-dispatch/dispatch'
import type { Row } from './rows.ts'

/** What the API says about one message of a batch. */
export type Result = { id: string; error?: undefined } | { error: { detail: string } }

/** Whether an account sends anything, and why not. */
export interface Breaker {
  state: 'closed' | 'open' | 'half-open'
  /** These only while it is not closed. */
  since?: string
  next_probe_at?: string
  reason?: { code: string; message: string }
}

interface UnmatchedPage {
  items: { request_id?: string }[]
  next: string | null
}

/** Requests at once when many messages are read: enough to be quick, few enough not to be a load. */
const readersAtOnce = 8
const callTimeoutMs = 30_000

/**
 * The few calls of the HTTP API that a sender needs; none is begun when `signal` has aborted. One that is under way
 * is not cut: a connection that was opened for nothing would keep the API from closing.
 */
export class ApiClient {
  readonly #url: string
  readonly #key: string
  readonly #signal: AbortSignal

  constructor(options: { url: string; key: string; signal: AbortSignal }) {
    this.#url = options.url
    this.#key = options.key
    this.#signal = options.signal
  }

  /**
   * Hands in up to 1,000 messages, and says where to tell what becomes of them. The idempotency key makes it safe to ask again when no answer came.
   * @returns a result for each message, in order
   */
  async send(rows: readonly Row[], idempotencyKey: string, postBackUrl: string): Promise<Result[]> {
    const messages = rows.map(({ request }) => ({ ...request, post_back_url: postBackUrl }))
    const body = JSON.stringify({ messages })
    const { results } = await this.post<{ results: Result[] }>('/v1/messages/batch', {
      headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
      body,
    })
    if (results.length !== rows.length) throw new Error('the API did not answer for every message')
    return results
  }

  /** Reads messages by id, several at once. */
  async messages(ids: readonly string[]): Promise<MessageView[]> {
    const left = [...ids]
    const found: MessageView[] = []
    const reader = async () => {
      for (let id = left.pop(); id !== undefined; id = left.pop()) {
        found.push(await this.get<MessageView>(`/v1/messages/${id}`))
      }
    }
    await Promise.all(Array.from({ length: readersAtOnce }, reader))
    return found
  }

  /** The message that a provider calls so. */
  async findByRequestId(requestId: string): Promise<MessageView | undefined> {
    const query = new URLSearchParams({ request_id: requestId })
    const { items } = await this.get<{ items: MessageView[] }>(`/v1/messages?${query}`)
    return items[0]
  }

  /** How many messages wait on all lanes, or are in hand. */
  async backlog(): Promise<number> {
    const { items } = await this.get<{ items: { depth: Record<string, number> }[] }>('/v1/accounts')
    const depths = items.map(({ depth }) => depth.waiting! + depth.delayed! + depth.active!)
    return depths.reduce((sum, depth) => sum + depth, 0)
  }

  /** How many receipts are taken in and not applied. */
  async receiptsWaiting(): Promise<number> {
    const text = await (await this.#fetch('/metrics')).text()
    const found = text.matchAll(/^wa_dispatch_receipts_waiting\{.*\} (\d+)$/gm)
    return [...found].reduce((sum, [, waiting]) => sum + Number(waiting), 0)
  }

  /** Request ids that receipts name and nobody knows. */
  async unmatchedRequestIds(): Promise<Set<string>> {
    const named = new Set<string>()
    for (let cursor = ''; ; ) {
      const query = new URLSearchParams({ unmatched: 'true', ...(cursor && { cursor }) })
      const page = await this.get<UnmatchedPage>(`/v1/receipts?${query}`)
      for (const { request_id: requestId } of page.items) if (requestId) named.add(requestId)
      if (!page.next) return named
      cursor = page.next
    }
  }

  async breaker(account: string): Promise<Breaker> {
    const { items } = await this.get<{ items: { id: string; breaker: Breaker }[] }>('/v1/accounts')
    return items.find(({ id }) => id === account)!.breaker
  }

  async get<Body>(path: string): Promise<Body> {
    return this.#read(await this.#fetch(path))
  }

  /** Asks again while the API says that it cannot just now. What must not happen twice has an idempotency key. */
  async post<Body>(path: string, init: RequestInit = {}): Promise<Body> {
    for (let triesLeft = 5; ; triesLeft -= 1) {
      const response = await this.#fetch(path, { ...init, method: 'POST' })
      if (response.status !== 503 || triesLeft === 1) return this.#read(response)
      await response.body?.cancel()
      const seconds = Number(response.headers.get('retry-after') ?? 1)
      await sleep(seconds * 1_000, undefined, { signal: this.#signal })
    }
  }

  /** An answer of any length, as it comes. */
  async stream(path: string, accept: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const response = await this.#fetch(path, { headers: { accept } })
    if (!response.ok || !response.body) throw new Error(`${response.url}: ${response.status}`)
    return response.body
  }

  #fetch(path: string, { headers, ...init }: RequestInit = {}): Promise<Response> {
    this.#signal.throwIfAborted()
    return fetch(`${this.#url}${path}`, {
      ...init,
      headers: { ...headers, authorization: `Bearer ${this.#key}` },
      signal: AbortSignal.timeout(callTimeoutMs),
    })
  }

  async #read<Body>(response: Response): Promise<Body> {
    const text = await response.text()
    if (!response.ok) throw new Error(`${response.url}: ${response.status} ${text.slice(0, 500)}`)
    return JSON.parse(text)
  }
}
