/** What the ledger takes and gives. */
import type { Redis } from 'ioredis'
import type { MessageId } from './ids.ts'
import type { MessageError, MessageState, OutcomeName } from './record.ts'

export interface LedgerOptions {
  redis: Redis
  retentionDays: number
  /** Milliseconds since 1970; absent: Redis' own clock, the one clock that all processes share. */
  clock?: () => number
}

/** What is written when a message is accepted. */
export interface NewMessage {
  id: MessageId
  /** E.164 digits without `+`. */
  to: string
  /** The message object as JSON text. */
  content: string
  idempotent: boolean
  reference?: string | undefined
  /** Its campaign's number in the account. */
  campaign?: number | undefined
  /** The kind of content: its job's name. */
  type?: string | undefined
  /** Who is told what becomes of it; absent: nobody. */
  callback?: Callback | undefined
  /** Milliseconds since 1970. */
  sendAt?: number | undefined
  expiresAt?: number | undefined
}

/** How the jobs of messages are added within the script that stores them. */
export interface LaneScript {
  /** BullMQ's own, for one job. */
  lua: string
  /** What scripts/accept-onto.lua has to know of the lane, msgpack. */
  lane: Buffer
}

/** Whom to tell what becomes of a message. */
export interface Callback {
  /** Names the receiver: those with the same share a queue. */
  receiver: string
  /** Absent for a campaign's row: the campaign knows. */
  url?: string | undefined
  /** The caller's own, sent back with each event. */
  data?: string | undefined
}

/** What a provider said later about one message. */
export interface LedgerReceipt {
  /** Our own id, where the provider echoes it. */
  messageId?: MessageId | undefined
  requestId?: string | undefined
  /** WhatsApp's own id of the message. */
  wamid?: string | undefined
  /** The provider's word. */
  status: string
  /** What it means; absent where it moves nothing. */
  state?: 'sent' | 'delivered' | 'read' | 'failed' | undefined
  /** Milliseconds since 1970. */
  at: number
  /** The provider tells no time, `at` is when it came: a repeated one is then known by its word alone. */
  untimed?: boolean | undefined
  recipient?: string | undefined
  /** Why it failed. */
  error?: { code: string; kind?: string | undefined; message: string } | undefined
}

/** What came of a receipt. */
export interface AppliedReceipt {
  /** Undefined where it matches no message: it waits in the pen. */
  id: MessageId | undefined
  state: MessageState | undefined
  moved: boolean
}

/** A receipt that matched no message so far; times are milliseconds since 1970. */
export interface UnmatchedReceipt {
  at: number
  receivedAt: number
  status: string
  requestId?: string
  wamid?: string
  messageId?: string
  recipient?: string
  error?: { code: string; message: string }
}

/** What became of a message that was to be stored. */
export interface Accepted {
  /** Undefined where its id names another message's place: it is not stored. */
  state: MessageState | undefined
  /** Milliseconds since 1970. */
  due: number
}

/** The id that was made for a message names a place that another one holds, after Redis lost data: ask again. */
export class SlotTakenError extends Error {
  readonly statusCode = 503
  constructor() {
    super('the place of this message is taken; it was not stored')
    this.name = 'SlotTakenError'
  }
}

/** A claim: the right to make one attempt. */
export interface Claim {
  kind: 'claimed'
  attempt: number
  /** Attempts that counted so far; throttled ones do not. */
  tries: number
  to: string
  content: string
  /** Since it was due. */
  waitedMs: number
}

/** Somebody else's claim, alive or not. */
export interface Held {
  kind: 'held'
  /** In how many milliseconds it is given up for lost; not above 0 when it is. */
  inMs: number
  attempt: number
  tries: number
  idempotent: boolean
}

export type ClaimResult =
  | Claim
  | Held
  /** It is due in so many milliseconds. */
  | { kind: 'early'; inMs: number }
  /** Its campaign is paused: it gets a new job when that goes on. */
  | { kind: 'parked' }
  | { kind: 'expired' }
  | { kind: 'stale'; state: MessageState | undefined }

/** Whether it was written, and the state the message has by now; undefined when there is none. */
export interface Settled {
  settled: boolean
  state: MessageState | undefined
}

/** What became of an attempt and what follows from it. */
export interface Settlement {
  attempt: number
  outcome: OutcomeName
  code: string
  durationMs: number
  state: MessageState
  /** In how many milliseconds a waiting message is due, or an uncertain one is decided. */
  inMs?: number | undefined
  /** Whether the attempt counts against the retries. */
  counts: boolean
  /** A 2xx came that could not be read. */
  answered?: boolean | undefined
  requestId?: string | undefined
  error?: MessageError | undefined
}
