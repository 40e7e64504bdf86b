/**
 * Message ids are addresses: `msg_` and 22 hexadecimal digits that name the account, the place in its
 * ledger and a random number. So a look-up by id needs no index, and an id from before a lost ledger
 * never points at somebody else's message.
 */
import { randomBytes } from 'node:crypto'

/** Slots in one bucket of the ledger. */
export const SLOTS = 16

export interface MessageId {
  /** As callers see it. */
  text: string
  /** The account's number in this Redis, 1–65,535. */
  account: number
  /** The message's place in the account's ledger, from 0, below 2^40. */
  sequence: number
  /** 32 random bits, kept in the record and compared at each access. */
  salt: number
}

const pattern = /^msg_([0-9a-f]{4})([0-9a-f]{10})([0-9a-f]{8})$/
const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0')

const SALT_BYTES = 4
let salts = Buffer.alloc(0)

/** Drawn a thousand at a time. */
function newSalt(): number {
  if (salts.length < SALT_BYTES) salts = randomBytes(1_000 * SALT_BYTES)
  const salt = salts.readUInt32LE()
  salts = salts.subarray(SALT_BYTES)
  return salt
}

export function createMessageId(account: number, sequence: number, salt = newSalt()): MessageId {
  return { text: `msg_${hex(account, 4)}${hex(sequence, 10)}${hex(salt, 8)}`, account, sequence, salt }
}

/** @returns undefined for a text that is no message id. */
export function parseMessageId(text: string): MessageId | undefined {
  const [, account, sequence, salt] = pattern.exec(text) ?? []
  if (!account || !sequence || !salt) return undefined
  return { text, account: parseInt(account, 16), sequence: parseInt(sequence, 16), salt: parseInt(salt, 16) }
}

/** The bucket that holds the message, and its slot there as one hexadecimal digit. */
export function placeOf(id: MessageId): { bucket: string; slot: string } {
  return {
    bucket: hex(Math.floor(id.sequence / SLOTS), 9),
    slot: (id.sequence % SLOTS).toString(16),
  }
}

/** The id of one event of a message, the same for each repetition: `evt_…`. @param event from 1 */
export const postBackId = (id: MessageId, event: number): string => `evt_${id.text.slice(4)}_${event}`

const postBackPattern = /^evt_([0-9a-f]{22})_([1-9]\d{0,3})$/

/** @returns undefined for a text that is no event's id. */
export function parsePostBackId(text: string): { id: MessageId; event: number } | undefined {
  const [, digits, event] = postBackPattern.exec(text) ?? []
  const id = digits === undefined ? undefined : parseMessageId(`msg_${digits}`)
  return id && { id, event: Number(event) }
}
