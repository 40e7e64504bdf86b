/** Lists that are read page by page: how long a page is, and where it ended, as a text that callers only hand back. */
import { z } from 'zod'
import type { Storage } from '../storage.ts'
import { refuse } from '../validation.ts'

/** How far into an account's list, the account by its number. In a campaign: the next row to look at. */
type Position = Place | { row: number }
interface Place {
  account: number
  offset: number
}

const DEFAULT_LIMIT = 100
const LIMIT_WORDS = 'a number from 1 to 500'

/** How many items a page has at most. */
export const limitSchema = z
  .string()
  .regex(/^\d{1,3}$/, LIMIT_WORDS)
  .transform(Number)
  .refine((value) => value >= 1 && value <= 500, LIMIT_WORDS)
  .optional()
  .transform((limit = DEFAULT_LIMIT) => limit)
  .meta({ description: '1 to 500; 100 when absent' })

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

/** @throws {Problem} 400: the cursor was given with another list */
export function refuseCursor(): never {
  throw refuse([{ path: 'cursor', message: 'is of another list' }])
}

/**
 * A page of what lies account by account. A cursor names an account by its number: that is their order, and not that of
 * accounts.json.
 * @param read gives so many of an account's items from an offset on, and whether there are more; asked for none, only that
 * @throws {Problem} 400 for an account that there is not, or a cursor of another list
 */
export async function pageByAccount<Item>(
  { accounts, ledger }: Storage,
  query: { account?: string | undefined; limit: number; cursor?: Position | undefined },
  read: (account: string, offset: number, count: number) => Promise<{ items: Item[]; more: boolean }>,
): Promise<{ items: Item[]; next: string | null }> {
  const { account: only, limit, cursor: from = { account: 0, offset: 0 } } = query
  if (only !== undefined && !accounts.has(only))
    throw refuse([{ path: 'account', message: `there is no account "${only}"` }])
  if ('row' in from) refuseCursor()
  const asked = [...(only === undefined ? accounts.keys() : [only])]
    .map((id) => ({ id, number: ledger.numberOf(id) }))
    .filter(({ number }) => number >= from.account)
    .sort((a, b) => a.number - b.number)
  const items: Item[] = []
  for (const { id, number } of asked) {
    const offset = number === from.account ? from.offset : 0
    const count = Math.max(0, limit - items.length)
    const page = await read(id, offset, count)
    items.push(...page.items)
    if (page.more) return { items, next: writeCursor({ account: number, offset: offset + count }) }
  }
  return { items, next: null }
}
