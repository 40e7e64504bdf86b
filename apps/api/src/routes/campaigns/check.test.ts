import type { CampaignId } from '@wa-dispatch/dispatch'
import { afterAll, describe, expect, it } from 'vitest'
import {
  bring,
  feed,
  recipients,
  testDefinition,
  upload,
} from '../../../../../packages/dispatch/src/campaigns/testing.ts'
import { useRedis } from '../../../../../test/redis.ts'
import { startApi } from '../../testing.ts'

const redis = await useRedis(afterAll)
const api = await startApi(redis.url)
const { storage } = api
const { campaigns } = storage

let names = 0
const create = (more = {}) => campaigns.create({ ...testDefinition, name: `n${++names}`, ...more })
const ask = (id: CampaignId, payload?: object) =>
  api.inject({ method: 'POST', url: `/v1/campaigns/${id.text}/check`, ...(payload && { payload }) })
async function check(id: CampaignId, payload?: object) {
  const answer = await ask(id, payload)
  expect(answer.statusCode, answer.body).toBe(200)
  return answer.json()
}
/** Started, with its first rows submitted. */
async function reach(id: CampaignId, count: number): Promise<void> {
  await campaigns.act(id, 'start')
  for (const message of await feed(storage, id, count)) await bring(storage, message, 'submitted')
}

describe('POST /v1/campaigns/:id/check', () => {
  it('tells the numbers, the time it takes and three messages, and changes nothing', async () => {
    const id = await create()
    await upload(storage, id, [...recipients(1_201), ...recipients(20)])
    await campaigns.store(
      id,
      {},
      99,
      campaigns.pack(
        [],
        new Map([
          ['to', 3],
          ['missing_variable', 2],
          ['content', 1],
        ]),
      ),
    )
    const before = await storage.redis.hgetall(storage.ledger.keysOf('kaleyra-in').campaign(id.number))
    const checked = await check(id)
    expect(checked).toMatchObject({
      total: 1_201,
      duplicates: 20,
      rejected: 6,
      rejections: { to: 3, missing_variable: 2, content: 1 },
      already_reached: 0,
      // At Kaleyra's 80 a second.
      duration_seconds: 16,
    })
    expect(checked.examples).toHaveLength(3)
    expect(checked.examples.map(({ line }: { line: number }) => line)).toEqual([1, expect.any(Number), 1_201])
    const middle = checked.examples[1]
    expect(middle.line).toBeGreaterThan(400)
    expect(middle.line).toBeLessThan(800)
    expect(middle.message.interactive.body).toEqual({ text: `Hello n${middle.to}` })
    expect(await storage.redis.hgetall(storage.ledger.keysOf('kaleyra-in').campaign(id.number))).toEqual(
      before,
    )
  })

  it.each([
    [1, 1, [1]],
    [2, 1, [1, 2]],
    [3, 1, [1, 2, 3]],
    [3, 2, [1, 2, 3]],
    [5, 512, [1, 3, 5]],
    [9, 2, [1, 6, 9]],
  ])('shows, of %d rows in chunks of %d, the rows %j', async (rows, chunkRows, lines) => {
    const id = await create()
    await upload(storage, id, recipients(rows), chunkRows)
    const { examples } = await check(id)
    expect(examples.map(({ line }: { line: number }) => line)).toEqual(lines)
  })

  it('counts who a campaign of the same name has reached within the hours that were asked for', async () => {
    const name = 'weekly'
    const earlier = await create({ name })
    await upload(storage, earlier, recipients(600))
    await reach(earlier, 550)
    const again = await create({ name })
    await upload(storage, again, recipients(10))
    await reach(again, 10)
    const id = await create({ name })
    await upload(storage, id, recipients(1_000, 919_000_000_500))
    await upload(storage, id, recipients(5))
    expect(await check(id)).toMatchObject({ already_reached: 55 })
    expect(await check(id, { hours: 1 })).toMatchObject({ already_reached: 55 })
    // Only what is not sent yet takes time: of the first one's rows 50.
    expect(await check(earlier, {})).toMatchObject({ total: 600, duration_seconds: 1, already_reached: 10 })
  })

  it('warns of what will not go as expected', async () => {
    const hour = 3_600_000
    const warnings = async (id: CampaignId) => (await check(id)).warnings.join('\n')
    expect(await warnings(await create())).toContain('no rows')

    const late = await create({ sendAt: Date.now() + hour, expiresAt: Date.now() + hour + 10_000 })
    await upload(storage, late, recipients(1_000))
    expect(await warnings(late)).toMatch(/after it expires at .*: about 200 messages would not be sent/)
    const over = await create({ expiresAt: Date.now() - 1 })
    await upload(storage, over, recipients(10))
    expect(await warnings(over)).toContain('Nothing would be sent')

    const fine = await create({ account: 'gupshup-main', expiresAt: Date.now() + hour })
    await upload(storage, fine, recipients(10))
    expect(await check(fine)).toMatchObject({ warnings: [] })
    const lane = storage.lanes.get('gupshup-main')!
    await lane.pause()
    expect(await warnings(fine)).toContain('paused')
    await lane.resume()
    const rival = await create({ account: 'gupshup-main' })
    await upload(storage, rival, recipients(1))
    await campaigns.act(rival, 'start')
    expect(await warnings(fine)).toContain('Another campaign is running')
    expect(await warnings(rival)).toBe('')
    await storage.redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
    expect(await warnings(rival)).toContain('maxmemory-policy')
    await storage.redis.config('SET', 'maxmemory-policy', 'noeviction')
  })

  it('refuses hours out of range, unknown fields, unknown campaigns and keys that may not send', async () => {
    const id = await create()
    for (const body of [{ hours: 0 }, { hours: 721 }, { hours: 1.5 }, { hours: '24' }, { since: 1 }, []]) {
      expect((await ask(id, body)).statusCode, JSON.stringify(body)).toBe(400)
    }
    expect((await ask({ ...id, text: `${id.text.slice(0, -1)}x` })).statusCode).toBe(404)
    const url = `/v1/campaigns/${id.text}/check`
    expect((await api.inject({ method: 'POST', url, key: 'key-read' })).statusCode).toBe(403)
  })
})
