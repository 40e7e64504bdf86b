/**
 * How a message lies in its bucket. Per message with slot `s` (one hexadecimal digit):
 *
 * | field | holds |
 * |-------|-------|
 * | s     | msgpack array, see CORE |
 * | sr    | request id |
 * | sf    | the caller's reference |
 * | sa1…  | one attempt each: msgpack array [ms after creation, outcome, duration in ms, code] |
 * | se0…  | the error, msgpack array [code, kind, message, at], in pieces |
 * | sm0…  | WhatsApp's own id of the message, in pieces |
 * | sp0…  | receipts, msgpack array of [ms after creation, status, code, kind, message], in pieces |
 * | sv0…  | events for the caller, see `announce` in scripts/record.lua, in pieces |
 * | sy0…  | calls to the caller, msgpack array of [event, ms after creation, code, duration in ms], in pieces |
 *
 * and `o`, the number of messages in the bucket that are not final: at 0 the bucket gets its retention.
 * An attempt that is under way stands in the core. No value is longer than 60 bytes, so that Redis keeps the bucket as one listpack
 * (hash-max-listpack-value is 64 by default) at a few bytes a field.
 *
 * The numbers here and those on top of `scripts/record.lua` are the same ones.
 */
import { unpack } from './unpack.ts'

export const STATES = [
  'scheduled',
  'queued',
  'retrying',
  'sending',
  'uncertain',
  'submitted',
  'sent',
  'delivered',
  'read',
  'failed',
  'cancelled',
  'expired',
] as const
export type MessageState = (typeof STATES)[number]

/** A state as its number in a record; 0 is none. */
export const stateNumber = (state: MessageState): number => STATES.indexOf(state) + 1
export const stateName = (number: number): MessageState => STATES[number - 1] ?? 'failed'

/** States in which a message waits for its turn. */
export const WAITING: readonly MessageState[] = ['scheduled', 'queued', 'retrying']

export const OUTCOMES = ['accepted', 'throttled', 'unavailable', 'uncertain', 'rejected'] as const
export type OutcomeName = (typeof OUTCOMES)[number]
export const outcomeNumber = (outcome: OutcomeName): number => OUTCOMES.indexOf(outcome) + 1

/** Positions in the core array. */
const CORE = {
  state: 0,
  generation: 1,
  salt: 2,
  to: 3,
  createdAt: 4,
  updatedAfter: 5,
  attempts: 6,
  tries: 7,
  flags: 8,
  due: 9,
  expiresAt: 10,
  /** Its number in the account; 0 for none. */
  campaign: 11,
  /** The most that receipts have said of it: sent, failed, delivered, read; 0 for nothing. */
  heard: 12,
  /** Who is told what becomes of it; '' for nobody. */
  receiver: 13,
  /** While it is being sent: since when, in ms after creation, and by whom. */
  claimedAfter: 14,
  token: 15,
} as const

export interface MessageError {
  code: string
  kind: string
  message: string
  at: 'submit' | 'delivery'
}

export interface AttemptRecord {
  at: number
  /** Absent while the answer is awaited. */
  outcome?: OutcomeName
  code?: string
  durationMs?: number
}

/** What a provider said later. */
export interface ReceiptRecord {
  at: number
  /** In the provider's own word. */
  status: string
  code?: string
}

/** One event that the caller is told of. */
export interface PostBackRecord {
  /** From 1. */
  event: number
  state: MessageState
  at: number
  status: 'pending' | 'delivered' | 'dead'
  /** The newest calls to the caller. */
  attempts: { at: number; code: string; durationMs: number }[]
}

/** A message as the ledger holds it; times are milliseconds since 1970. */
export interface MessageRecord {
  state: MessageState
  /** Counts the jobs made for it; an older job finds itself superseded. */
  generation: number
  salt: number
  to: string
  createdAt: number
  updatedAt: number
  /** When it is due, while it waits. */
  due: number
  /** Its campaign's number in the account; 0 for none. */
  campaign: number
  requestId?: string
  wamid?: string
  reference?: string
  error?: MessageError
  attempts: AttemptRecord[]
  /** By their times. */
  receipts: ReceiptRecord[]
  postBacks: PostBackRecord[]
}

/** Reads one slot out of the fields of a bucket. @returns undefined for an empty slot. */
export function decodeRecord(fields: Map<string, Buffer>, slot: string): MessageRecord | undefined {
  const packed = fields.get(slot)
  if (!packed) return undefined
  const core = unpack(packed) as (number | string)[]
  const at = (field: keyof typeof CORE) => Number(core[CORE[field]] ?? 0)
  const createdAt = at('createdAt')
  const requestId = fields.get(`${slot}r`)?.toString()
  const wamid = joined(fields, `${slot}m`)?.toString()
  const reference = joined(fields, `${slot}f`)?.toString()
  const error = joined(fields, `${slot}e`)
  return {
    state: stateName(at('state')),
    generation: at('generation'),
    salt: at('salt'),
    to: String(core[CORE.to]),
    createdAt,
    updatedAt: createdAt + at('updatedAfter'),
    due: at('due'),
    campaign: at('campaign'),
    attempts: attemptsOf(fields, slot, createdAt, at('attempts'), core[CORE.claimedAfter]),
    receipts: receiptsOf(fields, slot, createdAt),
    postBacks: postBacksOf(fields, slot, createdAt),
    ...(requestId !== undefined && { requestId }),
    ...(wamid !== undefined && { wamid }),
    ...(reference !== undefined && { reference }),
    ...(error && { error: errorOf(error) }),
  }
}

function attemptsOf(
  fields: Map<string, Buffer>,
  slot: string,
  createdAt: number,
  made: number,
  claimedAfter: number | string | undefined,
): AttemptRecord[] {
  const attempts: AttemptRecord[] = []
  for (let number = 1; number <= made; number++) {
    const packed = fields.get(`${slot}a${number}`)
    if (!packed) continue
    const [after, outcome, durationMs, code] = unpack(packed) as [number, number, number, string]
    attempts.push({ at: createdAt + after, outcome: OUTCOMES[outcome - 1]!, code, durationMs })
  }
  if (claimedAfter !== undefined) attempts.push({ at: createdAt + Number(claimedAfter) })
  return attempts
}

function receiptsOf(fields: Map<string, Buffer>, slot: string, createdAt: number): ReceiptRecord[] {
  const packed = joined(fields, `${slot}p`)
  if (!packed) return []
  const receipts = unpack(packed) as [number, string, string?][]
  return receipts
    .map(([after, status, code]) => ({ at: createdAt + after, status, ...(code !== undefined && { code }) }))
    .sort((a, b) => a.at - b.at)
}

const POST_BACK_STATUSES = ['pending', 'delivered', 'dead'] as const

function postBacksOf(fields: Map<string, Buffer>, slot: string, createdAt: number): PostBackRecord[] {
  const packed = joined(fields, `${slot}v`)
  if (!packed) return []
  const calls = joined(fields, `${slot}y`)
  const made = calls ? (unpack(calls) as [number, number, string, number][]) : []
  return (unpack(packed) as [number, number, number][]).map(([state, after, status], index) => ({
    event: index + 1,
    state: stateName(state),
    at: createdAt + after,
    status: POST_BACK_STATUSES[status]!,
    attempts: made
      .filter(([event]) => event === index + 1)
      .map(([, at, code, durationMs]) => ({ at: createdAt + at, code, durationMs })),
  }))
}

function errorOf(packed: Buffer): MessageError {
  const [code, kind, message, at] = unpack(packed) as [string, string, string, 'submit' | 'delivery']
  return { code, kind, message, at }
}

function joined(fields: Map<string, Buffer>, prefix: string): Buffer | undefined {
  const pieces: Buffer[] = []
  for (let piece = fields.get(`${prefix}0`); piece; piece = fields.get(`${prefix}${pieces.length}`))
    pieces.push(piece)
  return pieces.length ? Buffer.concat(pieces) : undefined
}
