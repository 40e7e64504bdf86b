/** What the scripts packed. */
import { Unpackr } from 'msgpackr'

/** Lua packs whole numbers beyond 32 bits, such as the milliseconds of fifty days, as 64-bit ones: BigInts by default. */
const unpackr = new Unpackr({ int64AsType: 'number', useRecords: false })

export const unpack = (packed: Buffer): unknown => unpackr.unpack(packed)
