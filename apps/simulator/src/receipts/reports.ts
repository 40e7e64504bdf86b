/** What a delivery report can tell: the newest of what has happened to each request so far. */
import type { ProviderName } from '../systems/system.ts'
import type { LoggedReceipt } from './log.ts'

export class Reports {
  readonly #limit: number
  /** By request; only of providers that are asked. */
  readonly #told = new Map<string, LoggedReceipt[]>()

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Takes note of a status, which may lie ahead. */
  note(receipt: LoggedReceipt): void {
    if (receipt.provider !== asked) return
    const known = this.#told.get(receipt.requestId)
    if (known !== undefined) known.push(receipt)
    else this.#told.set(receipt.requestId, [receipt])
    if (this.#told.size <= this.#limit) return
    for (const oldest of this.#told.keys()) {
      this.#told.delete(oldest)
      return
    }
  }

  /** The account of a request, and the last that happened to it; undefined where nothing did. */
  find(requestId: string): LoggedReceipt | undefined {
    const now = Date.now()
    let last: LoggedReceipt | undefined
    for (const receipt of this.#told.get(requestId) ?? []) {
      if (receipt.atMs <= now && (last === undefined || receipt.atMs >= last.atMs)) last = receipt
    }
    return last
  }

  clear(): void {
    this.#told.clear()
  }
}

const asked: ProviderName = 'zixflow'
