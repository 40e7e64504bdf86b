/** Where a page ended, as a text that callers only hand back. */
import { z } from 'zod'

interface Position {
  account: number
  offset: number
}

const positionSchema = z.strictObject({
  account: z.int().min(0).max(65_535),
  offset: z
    .int()
    .min(0)
    .max(2 ** 40),
})

export const writeCursor = ({ account, offset }: Position): string =>
  Buffer.from(`${account}.${offset}`).toString('base64url')

/** Reads it back; a text that is no cursor is refused. */
export const cursorSchema = z
  .string()
  .max(64)
  .transform((text, context): Position => {
    const [account, offset] = Buffer.from(text, 'base64url').toString('latin1').split('.')
    const position = positionSchema.safeParse({ account: Number(account), offset: Number(offset) })
    if (position.success && writeCursor(position.data) === text) return position.data
    context.addIssue({ code: 'custom', message: 'is not a cursor that this API gave' })
    return z.NEVER
  })
