import { type CampaignId, createCampaignId, type MessageId, type MessageView } from '@wa-dispatch/dispatch'
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

/** Started, with its first rows messages by now. */
async function campaign(rows: number, fed: number): Promise<{ id: CampaignId; ids: MessageId[] }> {
  const id = await campaigns.create({ ...testDefinition, reference: 'autumn-1' })
  await upload(storage, id, recipients(rows))
  await campaigns.act(id, 'start')
  return { id, ids: await feed(storage, id, fed) }
}
const get = (query: string) => api.inject({ url: `/v1/messages${query}` })

interface Pages {
  items: MessageView[]
  requests: number
}
async function pages(query: string): Promise<Pages> {
  const items: MessageView[] = []
  let next: string | null = null
  for (let requests = 1; ; requests++) {
    const answer = await get(`${query}${next === null ? '' : `&cursor=${encodeURIComponent(next)}`}`)
    expect(answer.statusCode, answer.body).toBe(200)
    const page = answer.json() as { items: MessageView[]; next: string | null }
    items.push(...page.items)
    next = page.next
    if (next === null) return { items, requests }
    expect(requests).toBeLessThan(100)
  }
}

describe('GET /v1/messages?campaign=', () => {
  it('pages through all rows in order, those that are no messages yet included', async () => {
    const { id, ids } = await campaign(1_200, 700)
    await bring(storage, ids[0]!, 'submitted')
    const { items, requests } = await pages(`?campaign=${id.text}&limit=250`)
    expect(items.map(({ to }) => to)).toEqual(recipients(1_200))
    expect(requests).toBe(5)
    expect(new Set(items.map((item) => item.campaign_id))).toEqual(new Set([id.text]))
    expect(items[0]).toEqual((await get(`/${ids[0]!.text}`)).json())
    expect(items[0]).toMatchObject({
      state: 'submitted',
      reference: 'autumn-1',
      request_id: `req-${ids[0]!.text}`,
    })
    expect(items.at(-1)).toEqual((await get(`/${items.at(-1)!.id}`)).json())
    expect(items.at(-1)).toMatchObject({ state: 'queued', reference: 'autumn-1', error: null, attempts: [] })
  })

  it('gives those in one state only', async () => {
    const { id, ids } = await campaign(1_200, 700)
    for (const index of [3, 511, 512, 699]) await bring(storage, ids[index]!, 'failed')
    const ofState = async (state: string) =>
      (await pages(`?campaign=${id.text}&state=${state}&limit=3`)).items
    expect((await ofState('failed')).map(({ id }) => id)).toEqual(
      [3, 511, 512, 699].map((at) => ids[at]!.text),
    )
    expect(await ofState('uncertain')).toEqual([])
    await campaigns.act(id, 'cancel')
    const cancelled = (await pages(`?campaign=${id.text}&state=cancelled&limit=500`)).items
    expect(cancelled.map(({ to }) => to)).toEqual(recipients(1_200).slice(700))
    expect((await pages(`?campaign=${id.text}&state=queued&limit=500`)).items).toHaveLength(696)
  })

  it('looks at a bounded number of rows a request, and says where to go on', async () => {
    const { id, ids } = await campaign(10_000, 9_000)
    await bring(storage, ids[8_900]!, 'failed')
    const first = (await get(`?campaign=${id.text}&state=failed`)).json()
    expect(first).toEqual({ items: [], next: expect.any(String) })
    const { items, requests } = await pages(`?campaign=${id.text}&state=failed`)
    expect(items.map((item) => item.id)).toEqual([ids[8_900]!.text])
    expect(requests).toBe(3)
  })

  it('refuses what goes with another list, and campaigns that are not there', async () => {
    const { id } = await campaign(10, 10)
    const next = (query: string) => get(query).then((answer) => answer.json().next)
    const ofCampaign = await next(`?campaign=${id.text}&limit=1`)
    const ofReference = await next('?reference=autumn-1&limit=1')
    for (const query of [
      `?campaign=${id.text}&reference=a`,
      `?campaign=${id.text}&state=lost`,
      `?reference=a&state=failed`,
      `?reference=a&cursor=${ofCampaign}`,
      `?campaign=${id.text}&cursor=${ofReference}`,
    ]) {
      expect((await get(query)).statusCode, query).toBe(400)
    }
    for (const text of ['cmp_x', createCampaignId(id.account, id.number, id.salt ^ 1).text]) {
      expect((await get(`?campaign=${text}`)).statusCode).toBe(404)
    }
  })
})

describe('a campaign’s row that is no message yet', () => {
  it('is read by its id, and has it still when it has become one', async () => {
    const { id } = await campaign(3, 1)
    const [, second] = (await pages(`?campaign=${id.text}`)).items
    expect(second).toMatchObject({ state: 'queued', campaign_id: id.text })
    const [fed] = await feed(storage, id, 1)
    expect(fed!.text).toBe(second!.id)
    expect((await get(`/${second!.id}`)).json()).toMatchObject({ to: second!.to, campaign_id: id.text })
  })

  it('cannot be cancelled or decided by itself', async () => {
    const { id } = await campaign(3, 1)
    const [, second] = (await pages(`?campaign=${id.text}`)).items
    const post = (what: string, payload?: object) =>
      api.inject({ method: 'POST', url: `/v1/messages/${second!.id}/${what}`, ...(payload && { payload }) })
    const cancel = await post('cancel')
    expect([cancel.statusCode, cancel.json().detail]).toEqual([409, expect.stringContaining(id.text)])
    expect((await post('resolve', { as: 'failed' })).statusCode).toBe(409)
    await campaigns.act(id, 'cancel')
    expect((await post('cancel')).json()).toMatchObject({ id: second!.id, state: 'cancelled' })
  })
})
