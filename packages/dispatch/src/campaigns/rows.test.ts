import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { endings } from '../../../../test/endings.ts'
import { useRedis } from '../../../../test/redis.ts'
import { Ledger, type MessageState, STATES } from '../ledger/index.ts'
import type { CampaignId } from './ids.ts'
import { countReached, REACHED } from './reached.ts'
import { RecipientTable } from './recipient-table.ts'
import { campaignRow, campaignRowChunks, campaignRows, type ReportedRow, RowsGoneError } from './rows.ts'
import { Campaigns } from './store.ts'
import { bring, feed, REACHABLE, recipients, type Store, testDefinition, upload } from './testing.ts'

const onEnd = endings()
const HOUR_MS = 3_600_000
let redis: Redis
let store: Store
/** 0: Redis' own clock. */
let now = 0

beforeAll(async () => {
  redis = new Redis((await useRedis(onEnd)).url)
  const ledger = new Ledger({ redis, retentionDays: 7, clock: () => now || Date.now() })
  await ledger.open(['kaleyra-in', 'gupshup-main'])
  store = { ledger, campaigns: new Campaigns({ redis, ledger, retentionDays: 7 }) }
})
afterAll(() => redis?.disconnect())

const read = async (id: CampaignId) => (await store.campaigns.read(id))!
async function rowsOf(id: CampaignId, from = 0): Promise<ReportedRow[]> {
  const rows: ReportedRow[] = []
  for await (const row of campaignRows(store.campaigns, store.ledger, await read(id), { from }))
    rows.push(row)
  return rows
}
function totals(rows: ReportedRow[]): Partial<Record<MessageState, number>> {
  const counts: Partial<Record<MessageState, number>> = {}
  for (const { state } of rows) counts[state] = (counts[state] ?? 0) + 1
  return counts
}

describe('the rows of a campaign at rest', () => {
  it('add up to its counts in every mix of states, duplicates and endings', async () => {
    const mix = fc.record({
      // Numbers from few, so that the same one comes again within a chunk and in another.
      uploads: fc.array(fc.array(fc.integer({ min: 0, max: 90 }), { minLength: 1, maxLength: 60 }), {
        minLength: 1,
        maxLength: 3,
      }),
      chunkRows: fc.integer({ min: 1, max: 40 }),
      fed: fc.nat(100),
      states: fc.array(fc.constantFrom(...REACHABLE), { minLength: 1, maxLength: 30 }),
      ending: fc.constantFrom('none', 'pause', 'cancel', 'expire'),
      from: fc.nat(60),
    })
    await fc.assert(
      fc.asyncProperty(mix, async ({ uploads, chunkRows, fed, states, ending, from }) => {
        const expiresAt = Date.now() + HOUR_MS
        const id = await store.campaigns.create({ ...testDefinition, expiresAt })
        for (const offsets of uploads) {
          const to = offsets.map((offset) => String(919_000_000_000 + offset))
          await upload(store, id, to, chunkRows)
        }
        await store.campaigns.act(id, 'start')
        const ids = await feed(store, id, fed)
        for (const [index, message] of ids.entries())
          await bring(store, message, states[index % states.length]!)
        if (ending === 'expire') now = expiresAt + 1
        if (ending !== 'none') expect((await store.campaigns.act(id, ending)).result).toBe('done')
        now = 0

        const record = await read(id)
        const rows = await rowsOf(id)
        expect(totals(rows)).toEqual(record.counts)
        expect(rows).toHaveLength(record.total)
        expect(new Set(rows.map(({ to }) => to)).size).toBe(record.total)
        expect(new Set(rows.map(({ to }) => to))).toEqual(
          new Set(uploads.flat().map((offset) => String(919_000_000_000 + offset))),
        )
        const positions = rows.map(({ position }) => position)
        expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b))
        expect(rows.filter(({ message }) => message).map(({ id }) => id.text)).toEqual(
          ids.map(({ text }) => text),
        )
        // Reading on in the middle gives the rest.
        const start = positions[from % positions.length]!
        expect(await rowsOf(id, start)).toEqual(rows.filter(({ position }) => position >= start))
      }),
      { numRuns: 40 },
    )
  })

  it('carry line, reference and values, their own or the campaign’s', async () => {
    const id = await store.campaigns.create({ ...testDefinition, reference: 'all' })
    await upload(store, id, recipients(3), 2, [undefined, 'own'])
    await store.campaigns.act(id, 'start')
    await feed(store, id, 2)
    expect(await rowsOf(id)).toMatchObject([
      { position: 0, line: 1, reference: 'all', values: ['n919000000000'], message: { reference: 'all' } },
      { position: 1, line: 2, reference: 'own', message: { reference: 'own' } },
      { position: 512, line: 3, reference: 'all', state: 'queued' },
    ])
  })

  it('are found by the ids of their messages, before and after they are messages', async () => {
    const id = await store.campaigns.create(testDefinition)
    await upload(store, id, recipients(2))
    await store.campaigns.act(id, 'start')
    const [first, second] = await rowsOf(id)
    await feed(store, id, 1)
    const find = async (row: ReportedRow) => (await campaignRow(store.campaigns, store.ledger, row.id))?.row
    expect(await find(first!)).toMatchObject({ to: first!.to, state: 'queued', message: { state: 'queued' } })
    expect((await find(second!))?.message).toBeUndefined()
    await store.campaigns.act(id, 'cancel')
    expect(await find(second!)).toMatchObject({ to: second!.to, state: 'cancelled' })
    expect(await find({ ...second!, id: { ...second!.id, salt: 1 } })).toBeUndefined()
  })

  it('are an error, not fewer rows, once a chunk or the messages of a finished campaign are gone', async () => {
    const id = await store.campaigns.create(testDefinition)
    await upload(store, id, recipients(4), 2)
    await store.campaigns.act(id, 'start')
    for (const message of await feed(store, id, 4)) await bring(store, message, 'submitted')
    expect((await store.campaigns.act(id, 'finish')).result).toBe('done')
    const keys = store.ledger.keysOf('kaleyra-in')
    const [{ id: message }] = (await rowsOf(id)) as [ReportedRow]
    await redis.del(keys.bucket(message.text.slice(8, 17)))
    await expect(rowsOf(id)).rejects.toThrow(RowsGoneError)
    expect(await campaignRow(store.campaigns, store.ledger, message)).toBeUndefined()
    await redis.del(`${keys.campaign(id.number)}:r:0`)
    await expect(rowsOf(id)).rejects.toThrow(RowsGoneError)
  })
})

describe('the rows of a campaign that is running', () => {
  it('are never shown in a state that they did not have, whatever happens between two reads', async () => {
    const CALLS = 7
    for (let fedBefore = 0; fedBefore < CALLS; fedBefore++) {
      for (let cancelledBefore = fedBefore; cancelledBefore <= CALLS; cancelledBefore++) {
        const id = await store.campaigns.create(testDefinition)
        await upload(store, id, recipients(8), 4)
        await store.campaigns.act(id, 'start')
        let calls = 0
        let turn = Promise.resolve()
        const happen = () => {
          const call = calls++
          turn = turn.then(async () => {
            if (call === fedBefore)
              for (const message of await feed(store, id, 6)) await bring(store, message, 'submitted')
            if (call === cancelledBefore) await store.campaigns.act(id, 'cancel')
          })
          return turn
        }
        /** The store, with something happening before it is asked. */
        const between = <Method extends (...args: never[]) => Promise<unknown>>(method: Method) =>
          (async (...args) => {
            await happen()
            return method(...args)
          }) as Method
        const { campaigns, ledger } = store
        const rows: ReportedRow[] = []
        const watched = new Proxy(campaigns, {
          get: (_, name) =>
            name === 'read' || name === 'chunk'
              ? between((campaigns[name] as typeof campaigns.chunk).bind(campaigns))
              : campaigns[name as 'messageId'].bind(campaigns),
        })
        const watchedLedger = { readEach: between(ledger.readEach.bind(ledger)) } as Ledger
        for await (const row of campaignRows(watched, watchedLedger, await read(id))) rows.push(row)
        const states = rows.map(({ state }) => state)
        const happened = `fed before call ${fedBefore}, cancelled before call ${cancelledBefore}`
        expect(states, happened).toHaveLength(8)
        for (const state of states.slice(0, 6))
          expect(['queued', 'sending', 'submitted'], happened).toContain(state)
        for (const state of states.slice(6)) expect(['queued', 'cancelled'], happened).toContain(state)
        while (calls <= CALLS) await happen()
        expect(totals(await rowsOf(id))).toEqual({ submitted: 6, cancelled: 2 })
      }
    }
  })

  it('read no further than one chunk ahead, and nothing more once nobody asks', async () => {
    const id = await store.campaigns.create(testDefinition)
    await upload(store, id, recipients(10), 1)
    const asked: number[] = []
    class Watched extends Campaigns {
      override chunk(campaign: CampaignId, number: number) {
        asked.push(number)
        return super.chunk(campaign, number)
      }
    }
    const watched = new Watched({ redis, ledger: store.ledger, retentionDays: 7 })
    for await (const [row] of campaignRowChunks(watched, store.ledger, await read(id))) {
      expect(asked.at(-1)).toBeLessThanOrEqual(row!.line)
      if (row!.line === 4) break
    }
    expect(asked).toEqual([0, 1, 2, 3, 4])
  })
})

describe('who was reached by another campaign of the same name', () => {
  it('is counted once, and only when reached, or perhaps reached, in time', async () => {
    const campaign = async (name: string, to: string[], account = 'kaleyra-in') => {
      const id = await store.campaigns.create({ ...testDefinition, name, account })
      await upload(store, id, to, 3)
      return id
    }
    const all = recipients(20)
    const since = Date.now() - HOUR_MS
    const reachedBy = async (id: CampaignId, states: (typeof REACHABLE)[number][]) => {
      await store.campaigns.act(id, 'start')
      for (const [index, message] of (await feed(store, id, states.length)).entries())
        await bring(store, message, states[index]!)
    }
    const mine = await campaign('weekly', all)
    await reachedBy(await campaign('weekly', all.slice(0, 9)), [...REACHABLE])
    // The first again, on another account, and somebody who is not in ours.
    await reachedBy(await campaign('weekly', [all[2]!, all[9]!, '4915112345678'], 'gupshup-main'), [
      'submitted',
      'submitted',
      'submitted',
    ])
    await reachedBy(await campaign('monthly', all.slice(10)), ['submitted'])
    now = since - 1_000
    await reachedBy(await campaign('weekly', [all[11]!]), ['submitted'])
    now = 0
    const count = async (more = {}) =>
      countReached(store.campaigns, store.ledger, await read(mine), { since, ...more })
    // sending, submitted, uncertain of the first one, and one of the second.
    expect(await count()).toBe(4)
    expect(await count({ since: since - HOUR_MS })).toBe(5)
    expect(await count({ mostRecipients: 3 })).toBe(4)
    await store.campaigns.dropRecipients(mine)
    expect(await count()).toBe(4)
  })

  it('knows for every state whether it is one that reaches', () => {
    const not: MessageState[] = ['scheduled', 'queued', 'retrying', 'failed', 'cancelled', 'expired']
    expect([...REACHED, ...not].sort()).toEqual([...STATES].sort())
  })

  it('ticks off each recipient once, however many there are', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1_000_000, max: 999_999_999_999_999 }), { maxLength: 300 }),
        fc.integer({ min: 0, max: 100 }),
        (numbers, expected) => {
          const table = new RecipientTable(expected)
          const [known, unknown] = [numbers.slice(100), numbers.slice(0, 100)]
          for (const number of [...known, ...known]) table.add(number)
          expect(unknown.some((number) => table.tickOff(number))).toBe(false)
          expect(known.every((number) => table.tickOff(number))).toBe(true)
          expect(known.some((number) => table.tickOff(number))).toBe(false)
        },
      ),
    )
  })
})
