/**
 * What came in. Every request leaves a compact record (about 200 bytes, in columns); the newest ones also keep
 * their headers, body and answer. Both are bounded: the oldest go first, the totals go on counting.
 */
import type { MessageType, ProviderName } from '../systems/system.ts'

const pageSize = 4096

/** The part of a record that is dropped early. */
export interface Detail {
  method: string
  path: string
  /** As `IncomingMessage.rawHeaders` has them: names and values in turn. */
  rawHeaders: string[]
  body: string | null
  answerBody: string | null
  answerHeaders: Record<string, string> | undefined
  /** The fault rule that decided, and why a request was refused. */
  rule: string | undefined
  reason: string | undefined
}

/** One request as it is put into the store. */
export interface Entry {
  /** When its headers arrived; milliseconds since 1970 with fractions. */
  atMs: number
  /** Null where no system has such a path. */
  provider: ProviderName | null
  account: string | null
  recipient: string | null
  type: MessageType | null
  accepted: boolean
  requestId: string | null
  reference: string | null
  /** A number for recipient and content; 0 where there is none. */
  fingerprint: number
  /** 0 where nothing was answered. */
  status: number
  code: string
  detail: Detail
}

/** A record as it is read: `detail` is gone from old ones. */
export interface StoredRecord extends Omit<Entry, 'detail' | 'fingerprint'> {
  seq: number
  detail: Detail | undefined
}

/** Counts of one account since the store was cleared. */
export interface AccountTotals {
  provider: ProviderName | null
  account: string | null
  arrived: number
  accepted: number
  byCode: Map<string, number>
}

interface Page {
  atMs: Float64Array
  fingerprint: Float64Array
  status: Uint16Array
  code: Uint16Array
  account: Uint16Array
  /** 0 not a message, 1 reaction, 2 interactive. */
  type: Uint8Array
  accepted: Uint8Array
  recipient: (string | null)[]
  requestId: (string | null)[]
  reference: (string | null)[]
}

const types: (MessageType | null)[] = [null, 'reaction', 'interactive']
/** Distinct accounts and codes are counted singly up to here, together beyond. */
const mostNames = 10_000

export class RecordStore {
  readonly keptLimit: number
  readonly detailLimit: number
  #pages: Page[] = []
  /** The seq of the first record in the first page. */
  #firstPageSeq = 1
  #nextSeq = 1
  #details: (Detail | undefined)[]
  #accounts: AccountTotals[] = []
  #accountIndex = new Map<string, number>()
  #codes: string[] = []
  #codeIndex = new Map<string, number>()

  /** Keeps compact records of at least `keptLimit` requests, and whole ones of `detailLimit`. */
  constructor(keptLimit: number, detailLimit: number) {
    this.keptLimit = keptLimit
    this.detailLimit = detailLimit
    this.#details = new Array<Detail | undefined>(detailLimit).fill(undefined)
  }

  add(entry: Entry): number {
    const seq = this.#nextSeq++
    const offset = seq - this.#firstPageSeq
    const row = offset % pageSize
    if (row === 0) this.#pages.push(newPage())
    const page = this.#pages[Math.floor(offset / pageSize)]!
    const account = this.#accountOf(entry.provider, entry.account)
    const totals = this.#accounts[account]!
    totals.arrived += 1
    if (entry.accepted) totals.accepted += 1
    totals.byCode.set(entry.code, (totals.byCode.get(entry.code) ?? 0) + 1)
    page.atMs[row] = entry.atMs
    page.fingerprint[row] = entry.fingerprint
    page.status[row] = entry.status
    page.code[row] = this.#codeOf(entry.code)
    page.account[row] = account
    page.type[row] = types.indexOf(entry.type)
    page.accepted[row] = entry.accepted ? 1 : 0
    page.recipient[row] = entry.recipient
    page.requestId[row] = entry.requestId
    page.reference[row] = entry.reference
    if (this.detailLimit > 0) this.#details[seq % this.detailLimit] = entry.detail
    if (seq - this.#firstPageSeq >= this.keptLimit + pageSize) {
      this.#pages.shift()
      this.#firstPageSeq += pageSize
    }
    return seq
  }

  /** Forgets everything. Sequence numbers go on, so that a cursor from before finds what came after. */
  clear(): void {
    this.#pages = []
    this.#firstPageSeq = this.#nextSeq
    this.#details.fill(undefined)
    this.#accounts = []
    this.#accountIndex.clear()
    this.#codes = []
    this.#codeIndex.clear()
  }

  get firstSeq(): number {
    return this.#firstPageSeq
  }

  get lastSeq(): number {
    return this.#nextSeq - 1
  }

  get totals(): readonly AccountTotals[] {
    return this.#accounts
  }

  /** The record with this number; undefined where it is gone or not there yet. */
  get(seq: number): StoredRecord | undefined {
    if (seq < this.#firstPageSeq || seq >= this.#nextSeq) return undefined
    const offset = seq - this.#firstPageSeq
    const row = offset % pageSize
    const page = this.#pages[Math.floor(offset / pageSize)]!
    const { provider, account } = this.#accounts[page.account[row]!]!
    return {
      seq,
      atMs: page.atMs[row]!,
      provider,
      account,
      recipient: page.recipient[row]!,
      type: types[page.type[row]!]!,
      accepted: page.accepted[row] === 1,
      requestId: page.requestId[row]!,
      reference: page.reference[row]!,
      status: page.status[row]!,
      code: this.#codes[page.code[row]!]!,
      detail: seq > this.lastSeq - this.detailLimit ? this.#details[seq % this.detailLimit] : undefined,
    }
  }

  /** Calls `visit` with the columns of every kept record, oldest first; for sums over a million of them. */
  scan(visit: (page: Readonly<Page>, row: number, seq: number) => void): void {
    const end = this.lastSeq
    for (let seq = this.#firstPageSeq; seq <= end; seq++) {
      const offset = seq - this.#firstPageSeq
      visit(this.#pages[Math.floor(offset / pageSize)]!, offset % pageSize, seq)
    }
  }

  #accountOf(provider: ProviderName | null, account: string | null): number {
    const name = account ?? ''
    let key = `${provider}\n${name}`
    const known = this.#accountIndex.get(key)
    if (known !== undefined) return known
    const full = this.#accounts.length >= mostNames
    if (full) key = `${provider}\n(others)`
    const others = this.#accountIndex.get(key)
    if (others !== undefined) return others
    this.#accountIndex.set(key, this.#accounts.length)
    this.#accounts.push({
      provider,
      account: full ? '(others)' : account,
      arrived: 0,
      accepted: 0,
      byCode: new Map(),
    })
    return this.#accounts.length - 1
  }

  #codeOf(code: string): number {
    const known = this.#codeIndex.get(code)
    if (known !== undefined) return known
    this.#codeIndex.set(code, this.#codes.length)
    this.#codes.push(code)
    return this.#codes.length - 1
  }
}

function newPage(): Page {
  return {
    atMs: new Float64Array(pageSize),
    fingerprint: new Float64Array(pageSize),
    status: new Uint16Array(pageSize),
    code: new Uint16Array(pageSize),
    account: new Uint16Array(pageSize),
    type: new Uint8Array(pageSize),
    accepted: new Uint8Array(pageSize),
    recipient: new Array<string | null>(pageSize).fill(null),
    requestId: new Array<string | null>(pageSize).fill(null),
    reference: new Array<string | null>(pageSize).fill(null),
  }
}
