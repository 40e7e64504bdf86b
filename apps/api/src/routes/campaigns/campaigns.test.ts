import { parseCampaignId } from '@wa-dispatch/dispatch'
import { afterAll, describe, expect, it } from 'vitest'
import { useRedis } from '../../../../../test/redis.ts'
import { campaign, reaction, startApi } from '../../testing.ts'

const redis = await useRedis(afterAll)
const api = await startApi(redis.url)

const post = (url: string, payload?: unknown, headers: Record<string, string> = {}, key = 'key-all') =>
  api.inject({
    method: 'POST',
    url,
    headers,
    key,
    ...(payload !== undefined && { payload: payload as object }),
  })
const make = async (more: Record<string, unknown> = {}): Promise<string> => {
  const answer = await post('/v1/campaigns', campaign(more))
  expect(answer.statusCode, answer.body).toBe(201)
  return answer.json().id
}
let nextNumber = 919_000_000_000
const rows = (count: number) =>
  `to,name\n${Array.from({ length: count }, () => `${nextNumber++},Asha\n`).join('')}`
const upload = (id: string, payload: string, headers: Record<string, string> = {}) =>
  api.inject({
    method: 'POST',
    url: `/v1/campaigns/${id}/recipients`,
    headers: { 'content-type': 'text/csv', ...headers },
    payload,
  })
const filled = async (more: Record<string, unknown> = {}, count = 3): Promise<string> => {
  const id = await make(more)
  expect((await upload(id, rows(count))).json()).toMatchObject({ accepted: count })
  return id
}
const act = (id: string, action: string, body?: unknown, headers?: Record<string, string>) =>
  post(`/v1/campaigns/${id}/${action}`, body, headers)
const read = async (id: string) => (await api.inject({ url: `/v1/campaigns/${id}` })).json()
const later = (ms: number) => new Date(Date.now() + ms).toISOString()
/** As the feeder does when everything has its final state. */
const finish = async (id: string) => {
  await act(id, 'start')
  const found = await api.storage.campaigns.read(parseCampaignId(id)!)
  // No feeder runs here: its rows are taken away as if they had been sent.
  await api.storage.redis.hset(`wa:{${found!.id.account}}:k:${found!.id.number}`, { 2: 0, 6: found!.total })
  expect(await api.storage.campaigns.act(found!.id, 'finish')).toMatchObject({ state: 'finished' })
}

describe('POST /v1/campaigns', () => {
  it('makes a draft that can be read back', async () => {
    const answer = await post(
      '/v1/campaigns',
      campaign({ reference: 'r-1', weight: 3, send_at: later(60_000) }),
    )
    expect(answer.statusCode).toBe(201)
    expect(answer.json()).toEqual({ id: expect.stringMatching(/^cmp_[0-9a-f]{20}$/), state: 'draft' })
    expect(await read(answer.json().id)).toMatchObject({
      name: 'autumn',
      account: 'kaleyra-in',
      state: 'draft',
      reference: 'r-1',
      priority: 'bulk',
      weight: 3,
      total: 0,
      counts: {},
      rejected: 0,
      duplicates: 0,
      rate: 0,
      waiting_for: ['to be started'],
    })
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['an unknown field', { wieght: 2 }, 'wieght'],
    ['an unknown account', { account: 'nobody' }, 'account'],
    ['content that the provider cannot carry', { account: 'zixflow-old', message: reaction }, 'message.type'],
    [
      'a placeholder that is not closed',
      { message: { type: 'reaction', reaction: { message_id: '{{id', emoji: '😀' } } },
      'message.reaction.message_id',
    ],
    [
      'a title that is too long for every recipient',
      {
        message: {
          type: 'interactive',
          interactive: {
            type: 'button',
            body: { text: 'Hi {{name}}' },
            action: {
              buttons: [{ type: 'reply', reply: { id: 'y', title: 'Much too long for a title {{name}}' } }],
            },
          },
        },
      },
      'message.interactive.action.buttons[0].reply.title',
    ],
    ['an end that is over', { expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
    ['an end before the start', { send_at: later(120_000), expires_at: later(60_000) }, 'expires_at'],
    ['a start years away', { send_at: later(400 * 86_400_000) }, 'send_at'],
  ])('refuses %s and names the field', async (_name, more, path) => {
    const answer = await post('/v1/campaigns', campaign(more))
    expect(answer.statusCode, answer.body).toBe(400)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(answer.json().errors.map((error: { path: string }) => error.path)).toContain(path)
  })

  it('gives the same campaign again under its Idempotency-Key, also at the same time', async () => {
    const headers = { 'idempotency-key': 'make-1' }
    const answers = await Promise.all(
      [1, 2, 3].map(() => post('/v1/campaigns', campaign({ name: 'once' }), headers)),
    )
    answers.push(await post('/v1/campaigns', campaign({ name: 'once' }), headers))
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
    expect(answers.at(-1)!.headers['idempotency-replayed']).toBe('true')
    const { items } = (await api.inject({ url: '/v1/campaigns?limit=500' })).json()
    expect(items.filter(({ name }: { name: string }) => name === 'once')).toHaveLength(1)
    expect((await post('/v1/campaigns', campaign({ name: 'other' }), headers)).statusCode).toBe(422)
  })
})

describe('actions', () => {
  it('start, pause, resume and cancel, each as often as it is asked for', async () => {
    const id = await filled()
    for (const [action, state] of [
      ['start', 'running'],
      ['pause', 'paused'],
      ['resume', 'running'],
      ['cancel', 'cancelled'],
    ] as const) {
      for (const time of ['first', 'again']) {
        const answer = await act(id, action)
        expect([time, answer.statusCode, answer.json()]).toEqual([time, 200, { id, state }])
      }
    }
    expect(await read(id)).toMatchObject({ state: 'cancelled', total: 3, counts: { cancelled: 3 } })
  })

  it('wait for their time when there is one', async () => {
    const at = later(3_600_000)
    const id = await filled({ send_at: at })
    expect((await act(id, 'start')).json()).toEqual({ id, state: 'scheduled' })
    const view = await read(id)
    expect(view.waiting_for).toEqual([`its time: ${at}`, '3 queued'])
    expect(Date.parse(view.estimated_end)).toBeGreaterThanOrEqual(Date.parse(at))
    expect((await act(id, 'pause')).json()).toEqual({ id, state: 'paused' })
    expect((await act(id, 'resume')).json()).toEqual({ id, state: 'scheduled' })
  })

  it.each<[string, string[], string, RegExp]>([
    ['a draft', [], 'pause', /is draft.*start it/],
    ['a draft', [], 'resume', /is draft/],
    ['a draft', [], 'retry', /is draft/],
    ['a paused one', ['start', 'pause'], 'start', /is paused.*resumed/],
    ['a cancelled one', ['cancel'], 'start', /is cancelled.*make another/],
    ['a cancelled one', ['cancel'], 'retry', /is cancelled/],
    ['a cancelled one', ['cancel'], 'resume', /is cancelled/],
  ])('refuse what %s (after %j) does not allow: %s', async (_state, before, action, words) => {
    const id = await filled()
    for (const step of before) expect((await act(id, step)).statusCode).toBe(200)
    const answer = await act(id, action)
    expect(answer.statusCode).toBe(409)
    expect(answer.json().detail).toMatch(words)
  })

  it('do not start what has no recipients', async () => {
    const answer = await act(await make(), 'start')
    expect(answer.statusCode).toBe(409)
    expect(answer.json().detail).toContain('no recipients')
  })

  it('retry what is finished, with codes or without', async () => {
    const id = await filled()
    await finish(id)
    expect(await read(id)).toMatchObject({ state: 'finished', waiting_for: [] })
    expect((await act(id, 'cancel')).statusCode).toBe(409)
    expect((await act(id, 'retry', { codes: ['E110'] })).json()).toEqual({ id, state: 'running' })
    expect((await read(id)).waiting_for).toContain('failed messages to be put back into the queue')
    expect((await api.storage.campaigns.read(parseCampaignId(id)!))!.retry).toMatchObject({ codes: ['E110'] })
    expect((await act(id, 'retry')).statusCode).toBe(200)
    expect((await api.storage.campaigns.read(parseCampaignId(id)!))!.retry).toMatchObject({ codes: [] })
    expect((await act(id, 'retry', {})).statusCode).toBe(200)
    for (const body of [{ codes: [] }, { codes: 'E110' }, { code: 'E110' }, []]) {
      expect((await act(id, 'retry', body)).statusCode).toBe(400)
    }
  })

  it('happen once under an Idempotency-Key', async () => {
    const id = await filled()
    const headers = { 'idempotency-key': 'start-1' }
    expect((await act(id, 'start', undefined, headers)).json().state).toBe('running')
    await act(id, 'cancel')
    const again = await act(id, 'start', undefined, headers)
    expect([again.statusCode, again.json().state, again.headers['idempotency-replayed']]).toEqual([
      200,
      'running',
      'true',
    ])
    expect((await read(id)).state).toBe('cancelled')
  })

  it.each(['cmp_', 'cmp_00010000000000000000', 'cmp_ffff0000000100000000', 'msg_x'])(
    'find nothing for the id %j',
    async (id) => {
      for (const action of ['start', 'pause', 'resume', 'cancel', 'retry']) {
        expect((await act(id, action)).statusCode).toBe(404)
      }
      expect((await upload(id, rows(1))).statusCode).toBe(404)
      expect((await api.inject({ url: `/v1/campaigns/${id}` })).statusCode).toBe(404)
    },
  )

  it('need the key that the contract names', async () => {
    const id = await filled()
    for (const action of ['start', 'pause', 'resume', 'cancel', 'retry', 'recipients']) {
      expect((await post(`/v1/campaigns/${id}/${action}`, undefined, {}, 'key-read')).statusCode).toBe(403)
    }
    expect((await post('/v1/campaigns', campaign(), {}, 'key-read')).statusCode).toBe(403)
    for (const url of ['/v1/campaigns', `/v1/campaigns/${id}`]) {
      expect((await api.inject({ url, key: 'key-send' })).statusCode).toBe(403)
      expect((await api.inject({ url, key: 'key-read' })).statusCode).toBe(200)
    }
  })
})

describe('GET /v1/campaigns', () => {
  it('pages through those of all accounts, the newest first', async () => {
    const made: string[] = []
    for (let index = 0; index < 9; index++) {
      made.unshift(await make({ account: index % 3 ? 'kaleyra-in' : 'gupshup-main' }))
      await new Promise((done) => setTimeout(done, 3))
    }
    const found: string[] = []
    let next: string | null = null
    for (let page = 0; page < 3; page++) {
      const cursor: string = next ? `&cursor=${next}` : ''
      const answer = (await api.inject({ url: `/v1/campaigns?limit=3${cursor}` })).json()
      found.push(...answer.items.map(({ id }: { id: string }) => id))
      next = answer.next
      await make({ name: 'made meanwhile' })
    }
    expect(found).toEqual(made)
    expect(next).not.toBeNull()
  })

  it('finds those of an account and in a state, to the last page', async () => {
    const scheduled: string[] = []
    for (let index = 0; index < 5; index++) {
      const id = await filled({ account: 'gupshup-main', send_at: later(3_600_000) }, 1)
      await act(id, 'start')
      scheduled.unshift(id)
      await make({ account: 'gupshup-main' })
    }
    const found: string[] = []
    let next: string | null = ''
    let pages = 0
    while (next !== null && pages++ < 20) {
      const url: string = `/v1/campaigns?account=gupshup-main&state=scheduled&limit=2${next && `&cursor=${next}`}`
      const page = (await api.inject({ url })).json()
      found.push(...page.items.map(({ id }: { id: string }) => id))
      next = page.next
    }
    expect(found).toEqual(scheduled)
    expect((await api.inject({ url: '/v1/campaigns?account=zixflow-old' })).json()).toEqual({
      items: [],
      next: null,
    })
  })

  it.each(['?limit=0', '?limit=501', '?account=nobody', '?state=done', '?cursor=zz', '?x=1'])(
    'refuses the query %j',
    async (query) => {
      const answer = await api.inject({ url: `/v1/campaigns${query}` })
      expect(answer.statusCode).toBe(400)
      expect(answer.json().errors.length).toBeGreaterThan(0)
    },
  )
})

describe('GET /v1/campaigns/:id', () => {
  it('says how fast it goes, when it will end and what it waits for', async () => {
    const id = await filled({}, 100)
    await act(id, 'start')
    const before = await read(id)
    expect(before).toMatchObject({ rate: 0, counts: { queued: 100 }, waiting_for: ['100 queued'] })
    const { id: number } = (await api.storage.campaigns.read(parseCampaignId(id)!))!
    const now = await api.storage.ledger.now()
    await api.storage.campaigns.keepSamples(number, [
      { at: now - 10_000, count: 0 },
      { at: now - 1_000, count: 18 },
    ])
    const view = await read(id)
    expect(view.rate).toBe(2)
    const seconds = (Date.parse(view.estimated_end) - now) / 1_000
    expect(seconds).toBeGreaterThan(45)
    expect(seconds).toBeLessThan(60)
    await api.storage.campaigns.keepSamples(number, [
      { at: now - 60_000, count: 0 },
      { at: now - 20_000, count: 80 },
    ])
    expect((await read(id)).rate).toBe(0)
  })

  it('names a paused lane and its own pause', async () => {
    const id = await filled({ account: 'zixflow-old' })
    await act(id, 'start')
    await post('/v1/accounts/zixflow-old/pause')
    expect((await read(id)).waiting_for).toEqual([
      'the lane of zixflow-old to be resumed: it is paused',
      '3 queued',
    ])
    await post('/v1/accounts/zixflow-old/resume')
    await act(id, 'pause')
    expect((await read(id)).waiting_for).toEqual(['to be resumed: it is paused', '3 queued'])
    expect((await read(id)).estimated_end).toBeUndefined()
  })

  it('says why nothing is sent while the breaker is open, and promises no end', async () => {
    const id = await filled({ account: 'zixflow-old' })
    await act(id, 'start')
    const account = api.storage.accounts.get('zixflow-old')!
    await api.storage.limiter.trip(account, { code: 'E110', kind: 'balance', message: 'Low balance!' }, false)
    expect(await read(id)).toMatchObject({
      waiting_for: ['zixflow-old to be let send again: E110 Low balance!', '3 queued'],
    })
    expect((await read(id)).estimated_end).toBeUndefined()
    await post('/v1/accounts/zixflow-old/resume')
    expect((await read(id)).waiting_for).toEqual(['3 queued'])
  })

  it('names what is being sent, retried and uncertain', async () => {
    const id = await filled()
    await act(id, 'start')
    const { id: number } = (await api.storage.campaigns.read(parseCampaignId(id)!))!
    const key = `wa:{${number.account}}:k:${number.number}`
    await api.storage.redis.hset(key, { 2: 0, 3: 1, 4: 1, 5: 1 })
    await api.storage.redis.zadd(`${key}:w`, Date.parse('2026-12-01T09:30:10Z'), 'some-message')
    expect((await read(id)).waiting_for).toEqual([
      '1 being sent',
      '1 retry, the last at about 2026-12-01T09:30Z',
      '1 uncertain: held until their outcome is known or decided',
    ])
  })
})

it('the OpenAPI document tells what a file of recipients looks like', async () => {
  const document = (await api.inject({ url: '/openapi.json', key: null })).json()
  const { requestBody, responses } = document.paths['/v1/campaigns/{id}/recipients'].post
  expect(Object.keys(requestBody.content)).toEqual(['text/csv', 'application/x-ndjson'])
  expect(JSON.stringify(requestBody)).toContain('to,reference,name')
  expect(responses['400'].content['application/problem+json'].schema.properties).toHaveProperty('accepted')
})
