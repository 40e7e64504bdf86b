/** Pages of campaigns over several accounts, the newest first. */
import type { CampaignRecord, CampaignState } from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { Storage } from '../../storage.ts'

/** How far each account's list was read: its number → the number of the last campaign that was taken from it. */
export type Places = ReadonlyMap<number, number>

/** What one request looks at, at most, to find those in a state. */
const LOOKED_AT = 2_000

const NONE_LEFT = 1

export const writePlaces = (places: Places): string =>
  Buffer.from([...places].map((pair) => pair.join('.')).join('-')).toString('base64url')

const maximum = 2 ** 32
const pairPattern = /^\d{1,5}\.\d{1,10}$/

/** Reads it back; a text that is no cursor is refused. */
export const placesSchema = z
  .string()
  .max(8_192)
  .transform((text, context): Places => {
    const pairs = Buffer.from(text, 'base64url').toString('latin1').split('-')
    if (pairs.every((pair) => pairPattern.test(pair))) {
      const places = new Map(pairs.map((pair) => pair.split('.').map(Number) as [number, number]))
      if (writePlaces(places) === text && [...places.values()].every((number) => number <= maximum)) {
        return places
      }
    }
    context.addIssue({ code: 'custom', message: 'is not a cursor that this API gave' })
    return z.NEVER
  })

/** One account's campaigns, read ahead. */
interface List {
  account: string
  number: number
  before: number
  ahead: CampaignRecord[]
  /** Nothing is behind what was read ahead. */
  ended: boolean
}

export interface PageOptions {
  state?: CampaignState | undefined
  limit: number
  /** Absent: from the newest on. */
  from?: Places | undefined
}

/** @returns the page, and where the next one begins, if there is one */
export async function readPage(
  { campaigns, ledger }: Storage,
  accounts: string[],
  { state, limit, from }: PageOptions,
): Promise<{ records: CampaignRecord[]; places: Places | undefined }> {
  const atATime = Math.ceil(limit / accounts.length) + 1
  const lists = accounts.map((account): List => {
    const number = ledger.numberOf(account)
    const before = from === undefined ? Number.POSITIVE_INFINITY : (from.get(number) ?? NONE_LEFT)
    return { account, number, before, ahead: [], ended: false }
  })

  async function fill(list: List): Promise<void> {
    if (list.ended || list.ahead.length > 0) return
    list.ahead = await campaigns.list(list.account, atATime, list.before)
    list.ended = list.ahead.length < atATime
  }

  await Promise.all(lists.map(fill))
  const records: CampaignRecord[] = []
  for (let lookedAt = 0; ; lookedAt++) {
    const next = newest(lists)
    if (!next) return { records, places: undefined }
    if (records.length === limit || lookedAt === LOOKED_AT) return { records, places: placesOf(lists) }
    const record = next.ahead.shift()!
    next.before = record.id.number
    if (state === undefined || record.state === state) records.push(record)
    await fill(next)
  }
}

const newest = (lists: List[]): List | undefined =>
  lists
    .filter(({ ahead }) => ahead.length > 0)
    .reduce<List | undefined>(
      (best, list) => (best && best.ahead[0]!.createdAt >= list.ahead[0]!.createdAt ? best : list),
      undefined,
    )

/** Behind what is newer than what was read: pages do not shift when campaigns are made meanwhile. */
const placesOf = (lists: List[]): Places =>
  new Map(lists.map(({ number, ahead }) => [number, ahead[0] ? ahead[0].id.number + 1 : NONE_LEFT]))
