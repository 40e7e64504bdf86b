/** Where a page ended, as a text that callers only hand back. */
import { z } from 'zod'

/** By reference: how far into an account's list. In a campaign: the next row to look at. */
type Position = { account: number; offset: number } | { row: number }

const offset = z
  .int()
  .min(0)
  .max(2 ** 40)
const positionSchema = z.union([
  z.strictObject({ account: z.int().min(0).max(65_535), offset }),
  z.strictObject({ row: offset }),
])

export const writeCursor = (position: Position): string => {
  const text = 'row' in position ? `row.${position.row}` : `${position.account}.${position.offset}`
  return Buffer.from(text).toString('base64url')
}

/** Reads it back; a text that is no cursor is refused. */
export const cursorSchema = z
  .string()
  .max(64)
  .transform((text, context): Position => {
    const [list, offset] = Buffer.from(text, 'base64url').toString('latin1').split('.')
    const number = Number(offset)
    const position = positionSchema.safeParse(
      list === 'row' ? { row: number } : { account: Number(list), offset: number },
    )
    if (position.success && writeCursor(position.data) === text) return position.data
    context.addIssue({ code: 'custom', message: 'is not a cursor that this API gave' })
    return z.NEVER
  })
