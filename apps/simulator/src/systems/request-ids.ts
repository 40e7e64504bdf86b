/**
 * Request ids that look like the real ones. They are written into one flat string each:
 * `crypto.randomUUID` gives a rope of small pieces, which takes a kilobyte when it is kept.
 */
import { randomFillSync } from 'node:crypto'

const pool = Buffer.alloc(32_768)
let used = pool.length

/** The offset of `count` fresh random bytes in the pool. */
function randomBytes(count: number): number {
  if (used + count > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const offset = used
  used += count
  return offset
}

const hexadecimal = Buffer.from('0123456789abcdef', 'latin1')
const uuid = Buffer.from('00000000-0000-4000-8000-000000000000', 'latin1')
const uuidDigits = [...uuid.keys()].filter((index) => uuid[index] !== 0x2d && index !== 14)

/** A random UUID (version 4). */
export function newUuid(): string {
  const offset = randomBytes(31)
  for (let index = 0; index < 31; index++) {
    uuid[uuidDigits[index]!] = hexadecimal[pool[offset + index]! & 15]!
  }
  uuid[19] = hexadecimal[8 + (pool[offset + 15]! & 3)]!
  return uuid.toString('latin1')
}

const capitals = Buffer.from('ABCDEFGHJKLMNPQRSTUVWXYZ23456789', 'latin1')
const kaleyraId = Buffer.from('A0000000000000000000', 'latin1')

/** `A` and nineteen capital letters and digits, as in Kaleyra's sample answer. */
export function newKaleyraId(): string {
  const offset = randomBytes(19)
  for (let index = 0; index < 19; index++) kaleyraId[index + 1] = capitals[pool[offset + index]! & 31]!
  return kaleyraId.toString('latin1')
}

const wamidBytes = 36

/** `wamid.` and base64, as WhatsApp's own ids look. */
export function newWamid(): string {
  const offset = randomBytes(wamidBytes)
  return `wamid.HBgM${pool.toString('base64', offset, offset + wamidBytes)}`
}

/** A number of eighteen digits: more than a double can hold. */
export function newLongNumber(): string {
  const offset = randomBytes(8)
  return String(604_000_000_000_000_001n + (pool.readBigUInt64LE(offset) >> 12n))
}
