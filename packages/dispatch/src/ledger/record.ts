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
 *
 * and `o`, the number of messages in the bucket that are not final: at 0 the bucket gets its retention.
 * An attempt that is under way stands in the core. No value is longer than 60 bytes, so that Redis keeps the bucket as one listpack
 * (hash-max-listpack-value is 64 by default) at a few bytes a field.
 *
 * The numbers here and those on top of `scripts/record.lua` are the same ones.
 */
import { unpack } from 'msgpackr'

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
  /** While it is being sent: since when, in ms after creation, and by whom. */
  claimedAfter: 12,
  token: 13,
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
  reference?: string
  error?: MessageError
  attempts: AttemptRecord[]
}

/** Reads one slot out of the fields of a bucket. @returns undefined for an empty slot. */
export function decodeRecord(fields: Map<string, Buffer>, slot: string): MessageRecord | undefined {
  const packed = fields.get(slot)
  if (!packed) return undefined
  const core = unpack(packed) as number[]
  const at = (field: keyof typeof CORE) => Number(core[CORE[field]] ?? 0)
  const createdAt = at('createdAt')
  const requestId = fields.get(`${slot}r`)?.toString()
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
    attempts: attemptsOf(fields, slot, createdAt, core),
    ...(requestId !== undefined && { requestId }),
    ...(reference !== undefined && { reference }),
    ...(error && { error: errorOf(error) }),
  }
}

function attemptsOf(
  fields: Map<string, Buffer>,
  slot: string,
  createdAt: number,
  core: number[],
): AttemptRecord[] {
  const attempts: AttemptRecord[] = []
  const claimedAfter = core[CORE.claimedAfter]
  for (let number = 1; number <= core[CORE.attempts]!; number++) {
    const packed = fields.get(`${slot}a${number}`)
    if (!packed) continue
    const [after, outcome, durationMs, code] = unpack(packed) as [number, number, number, string]
    attempts.push({ at: createdAt + after, outcome: OUTCOMES[outcome - 1]!, code, durationMs })
  }
  if (claimedAfter !== undefined) attempts.push({ at: createdAt + claimedAfter })
  return attempts
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
