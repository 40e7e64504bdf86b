import { Ledger, type MessageId } from '@wa-dispatch/dispatch'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { useRedis } from '../../../../../test/redis.ts'
import { campaign, message, startApi } from '../../testing.ts'

const redis = await useRedis(afterAll)
// As where accounts were put on top of accounts.json later: their numbers do not follow its order.
const before = new Redis(redis.url)
await new Ledger({ redis: before, retentionDays: 1 }).open(['gupshup-main', 'kaleyra-in'])
before.disconnect()
const api = await startApi(redis.url, { postBackAllow: 'hooks.internal,10.1.0.0/16' })
const { ledger } = api.storage

const post = (url: string, payload?: unknown) =>
  api.inject({ method: 'POST', url, ...(payload === undefined ? {} : { payload: payload as object }) })
const errorsOf = (answer: { json(): unknown }) =>
  (answer.json() as { errors: { path: string; message: string }[] }).errors

describe('a post_back_url', () => {
  it.each([
    ['plain http', 'http://8.8.8.8/states'],
    ['another port', 'https://8.8.8.8:8443/states'],
    ['credentials', 'https://user:word@8.8.8.8/states'],
    ['loopback', 'https://127.0.0.1/states'],
    ['loopback as one number', 'https://2130706433/states'],
    ['loopback in hexadecimal', 'https://0x7f000001/states'],
    ['loopback by name', 'https://localhost/states'],
    ['loopback, IPv4 in IPv6', 'https://[::ffff:127.0.0.1]/states'],
    ['a metadata service', 'https://169.254.169.254/latest/meta-data'],
    ['a private address', 'https://192.168.1.10/states'],
    ['another scheme', 'file:///etc/passwd'],
    ['no address at all', 'states'],
  ])('that is %s is refused, for a message, in a batch, for a campaign', async (_name, url) => {
    const answers = [
      await post('/v1/messages', message({ post_back_url: url })),
      await post('/v1/campaigns', campaign({ post_back_url: url })),
    ]
    for (const answer of answers) {
      expect(answer.statusCode).toBe(400)
      expect(errorsOf(answer)).toEqual([{ path: 'post_back_url', message: expect.any(String) }])
    }
    const batch = await post('/v1/messages/batch', { messages: [message({ post_back_url: url }), message()] })
    const [refused, taken] = batch.json().results
    expect(refused.error.errors).toMatchObject([{ path: 'post_back_url' }])
    expect(taken.state).toBe('queued')
  })

  it('that is public, or named by POST_BACK_ALLOW, is taken', async () => {
    for (const url of [
      'https://8.8.8.8/states',
      'http://hooks.internal:8080/a?b=c',
      'http://10.1.2.3/states',
    ]) {
      expect((await post('/v1/messages', message({ post_back_url: url }))).statusCode, url).toBe(202)
    }
    const made = await post('/v1/campaigns', campaign({ post_back_url: 'https://8.8.8.8/states' }))
    expect(made.statusCode).toBe(201)
    const { json } = await api.inject({ url: `/v1/campaigns/${made.json().id}` })
    expect(json()).toMatchObject({ post_back_url: 'https://8.8.8.8/states' })
  })
})

describe('a post-back that was given up', () => {
  const ids: MessageId[] = []
  beforeAll(async () => {
    for (let index = 0; index < 3; index++) {
      const body = message({ post_back_url: 'https://8.8.8.8/states', account: 'gupshup-main' })
      const { id } = (await post('/v1/messages', body)).json()
      await post(`/v1/messages/${id}/cancel`)
    }
    for (const { id, event } of await ledger.takePostBacks('gupshup-main', 10, new Map(), 10, 60_000)) {
      await ledger.settlePostBack(id, event, { code: '410', durationMs: 7, next: 'dead' })
      ids.push(id)
    }
  })
  const list = async (query = '') => (await api.inject({ url: `/v1/post-backs?status=dead${query}` })).json()

  it('is listed with why, page by page', async () => {
    const whole = await list()
    expect(whole.next).toBeNull()
    expect(whole.items.map((item: { message_id: string }) => item.message_id).sort()).toEqual(
      ids.map(({ text }) => text).sort(),
    )
    expect(whole.items[0]).toMatchObject({
      id: expect.stringMatching(/^evt_[0-9a-f]{22}_1$/),
      type: 'message.cancelled',
      account: 'gupshup-main',
      status: 'dead',
      attempts: [{ code: '410', duration_ms: 7 }],
    })
    const first = await list('&limit=2')
    expect(first.items).toHaveLength(2)
    const second = await list(`&limit=2&cursor=${first.next}`)
    expect([...first.items, ...second.items]).toEqual(whole.items)
    expect(second.next).toBeNull()
    expect((await list('&account=kaleyra-in')).items).toEqual([])
    expect((await api.inject({ url: '/v1/post-backs?status=dead&account=nobody' })).statusCode).toBe(400)
  })

  it('stands with its message, and is sent again by hand', async () => {
    const [id] = ids
    const read = async () => (await api.inject({ url: `/v1/messages/${id!.text}` })).json().post_backs
    expect(await read()).toMatchObject([
      { type: 'message.cancelled', status: 'dead', attempts: [{ code: '410' }] },
    ])
    const [{ id: event }] = await read()
    expect((await post(`/v1/post-backs/${event}/resend`)).json()).toMatchObject({
      id: event,
      status: 'pending',
    })
    expect((await post(`/v1/post-backs/${event}/resend`)).statusCode).toBe(409)
    expect((await list()).items).toHaveLength(2)
    expect(await ledger.takePostBacks('gupshup-main', 10, new Map(), 10, 60_000)).toMatchObject([
      { eventId: event, tries: 0, url: 'https://8.8.8.8/states' },
    ])
  })

  it('is listed once with those of other accounts, whatever their order in accounts.json', async () => {
    const body = message({ post_back_url: 'https://8.8.8.8/states' })
    for (let index = 0; index < 2; index++) {
      const { id } = (await post('/v1/messages', body)).json()
      await post(`/v1/messages/${id}/cancel`)
    }
    for (const { id, event } of await ledger.takePostBacks('kaleyra-in', 10, new Map(), 10, 60_000))
      await ledger.settlePostBack(id, event, { code: '410', durationMs: 7, next: 'dead' })
    const whole = (await list()).items
    expect(new Set(whole.map(({ account }: { account: string }) => account)).size).toBe(2)
    const pages: unknown[] = []
    for (let cursor = ''; cursor !== '&cursor=null'; ) {
      const { items, next } = await list(`&limit=1${cursor}`)
      pages.push(...items)
      cursor = `&cursor=${next}`
    }
    expect(pages).toEqual(whole)
  })

  it('that there is not is told so', async () => {
    for (const id of ['evt_0', `evt_${'0'.repeat(22)}_1`, `evt_${ids[0]!.text.slice(4)}_9`])
      expect((await post(`/v1/post-backs/${id}/resend`)).statusCode).toBe(404)
  })
})
