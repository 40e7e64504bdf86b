import { type MessageView, parseMessageId } from '@wa-dispatch/dispatch'
import { afterAll, describe, expect, it } from 'vitest'
import { useRedis } from '../../../../../test/redis.ts'
import { message, startApi } from '../../testing.ts'

const redis = await useRedis(afterAll)
const api = await startApi(redis.url)

const post = (url: string, payload?: unknown, headers: Record<string, string> = {}) =>
  api.inject({ method: 'POST', url, headers, ...(payload !== undefined && { payload: payload as object }) })
const send = async (more: Record<string, unknown> = {}): Promise<string> => {
  const answer = await post('/v1/messages', message(more))
  expect(answer.statusCode, answer.body).toBe(202)
  return answer.json().id
}
const read = async (id: string): Promise<MessageView> =>
  (await api.inject({ url: `/v1/messages/${id}` })).json()

/** Takes the message as far as a worker whose call was cut. */
async function makeUncertain(text: string): Promise<void> {
  const { ledger } = api.storage
  const id = parseMessageId(text)!
  expect(await ledger.claim(id, 0, 60_000, 'test')).toMatchObject({ kind: 'claimed' })
  await ledger.settle(id, {
    attempt: 1,
    outcome: 'uncertain',
    code: 'ECONNRESET',
    durationMs: 12,
    state: 'uncertain',
    inMs: 60_000,
    counts: true,
  })
}

describe('POST /v1/messages', () => {
  it('takes a message, stores it and puts its job on the lane', async () => {
    const id = await send({ reference: 'order-1042' })
    expect(await read(id)).toMatchObject({
      id,
      account: 'kaleyra-in',
      to: '919876543210',
      state: 'queued',
      reference: 'order-1042',
      error: null,
      attempts: [],
      receipts: [],
    })
    const job = await api.storage.lanes.get('kaleyra-in')!.getJob(`${id}-0`)
    expect(job?.data).toEqual({ message: id, generation: 0, to: '919876543210', reference: 'order-1042' })
  })

  it('puts urgent, bulk and later messages that came together where each belongs', async () => {
    const later = new Date(Date.now() + 3_600_000).toISOString()
    const lane = api.storage.lanes.get('kaleyra-in')!
    const ids = await Promise.all([send(), send({ priority: 'bulk' }), send({ send_at: later }), send()])
    const states = () => Promise.all(ids.map((id) => lane.getJobState(`${id}-0`)))
    await expect.poll(states).toEqual(['waiting', 'prioritized', 'delayed', 'waiting'])
    for (const id of ids) {
      const job = await lane.getJob(`${id}-0`)
      expect(job).toMatchObject({ name: 'reaction', data: { message: id, generation: 0 } })
    }
  })

  it('schedules a message for later', async () => {
    const at = new Date(Date.now() + 3_600_000).toISOString()
    const id = await send({ send_at: at })
    expect(await read(id)).toMatchObject({ state: 'scheduled', next_attempt_at: at })
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['an unknown field', { postback: 'https://us.example' }, 'postback'],
    ['post-backs that nobody could sign', { post_back_url: 'https://us.example' }, 'post_back_url'],
    ['an unknown account', { account: 'nobody' }, 'account'],
    ['a number that is none', { to: '0123' }, 'to'],
    ['an end before the start', { expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
    [
      'a button title that is too long',
      {
        message: {
          type: 'interactive',
          interactive: {
            type: 'button',
            body: { text: 'Fits?' },
            action: {
              buttons: [{ type: 'reply', reply: { id: 'y', title: 'This title is too long for it' } }],
            },
          },
        },
      },
      'message.interactive.action.buttons[0].reply.title',
    ],
    ['content that the provider cannot carry', { account: 'zixflow-old' }, 'message.type'],
  ])('refuses %s and names the field', async (_name, more, path) => {
    const answer = await post('/v1/messages', message(more))
    expect(answer.statusCode).toBe(400)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(answer.json().errors.map((error: { path: string }) => error.path)).toContain(path)
  })

  it.each<[string, number, Record<string, string>, string]>([
    ['a body that is not JSON', 400, { 'content-type': 'application/json' }, '{"account":'],
    ['a body that is empty', 400, { 'content-type': 'application/json' }, ''],
    ['a body of another type', 415, { 'content-type': 'text/plain' }, 'hello'],
    ['a form', 415, { 'content-type': 'application/x-www-form-urlencoded' }, 'account=kaleyra-in'],
    [
      'a body that is too large',
      413,
      { 'content-type': 'application/json' },
      `{"a":"${'x'.repeat(1_100_000)}"}`,
    ],
  ])('refuses %s with a problem document', async (_name, status, headers, payload) => {
    const answer = await api.inject({ method: 'POST', url: '/v1/messages', headers, payload })
    expect(answer.statusCode).toBe(status)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(answer.json()).toMatchObject({ status, detail: expect.any(String) })
  })

  it('logs neither numbers nor bodies nor keys', async () => {
    await send({ to: '+4915112345678', reference: 'secret-reference' })
    await api.inject({ url: '/v1/nothing/4915112345678' })
    const log = api.logged.join('')
    expect(log).toContain('/v1/messages')
    expect(log).not.toMatch(/4915112345678|secret-reference|key-all/)
  })

  it('takes over a sane request id and makes one for any other', async () => {
    const given = await post('/v1/messages', message(), { 'x-request-id': 'from-caller-1' })
    expect(given.headers['x-request-id']).toBe('from-caller-1')
    const bad = await post('/v1/messages', message(), { 'x-request-id': 'two words' })
    expect(bad.headers['x-request-id']).toMatch(/^[\w-]+$/)
    expect(api.logged.some((line) => line.includes('"from-caller-1"'))).toBe(true)
  })
})

describe('Idempotency-Key', () => {
  it('gives the same answer again and enqueues once', async () => {
    const headers = { 'idempotency-key': 'again-1' }
    const first = await post('/v1/messages', message({ reference: 'idem-1' }), headers)
    const second = await post('/v1/messages', message({ reference: 'idem-1' }), headers)
    expect(second.body).toBe(first.body)
    expect(first.headers['idempotency-replayed']).toBeUndefined()
    expect(second.headers['idempotency-replayed']).toBe('true')
    expect((await api.inject({ url: '/v1/messages?reference=idem-1' })).json().items).toHaveLength(1)
  })

  it('gives twenty simultaneous requests the same id', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        post('/v1/messages', message({ reference: 'idem-2' }), { 'idempotency-key': 'at-once' }),
      ),
    )
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
    expect(answers.filter(({ headers }) => headers['idempotency-replayed'] === undefined)).toHaveLength(1)
    expect((await api.inject({ url: '/v1/messages?reference=idem-2' })).json().items).toHaveLength(1)
  })

  it('gives simultaneous batches the same ids', async () => {
    const messages = [
      message({ reference: 'idem-3' }),
      { account: 'nobody' },
      message({ reference: 'idem-3' }),
    ]
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        post('/v1/messages/batch', { messages }, { 'idempotency-key': 'batch-at-once' }),
      ),
    )
    expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
    expect((await api.inject({ url: '/v1/messages?reference=idem-3' })).json().items).toHaveLength(2)
  })

  it('refuses another body, and does not mind another order of fields', async () => {
    const headers = { 'idempotency-key': 'other-body' }
    const { account, to, message: content } = message()
    const first = await post('/v1/messages', { account, to, message: content }, headers)
    expect((await post('/v1/messages', { message: content, to, account }, headers)).body).toBe(first.body)
    const other = await post('/v1/messages', message({ reference: 'x' }), headers)
    expect(other.statusCode).toBe(422)
    expect(other.json()).toMatchObject({ status: 422 })
  })

  it('is not used up by a body that does not fit', async () => {
    const headers = { 'idempotency-key': 'fits-later' }
    expect((await post('/v1/messages', message({ to: 'x' }), headers)).statusCode).toBe(400)
    expect((await post('/v1/messages', message(), headers)).statusCode).toBe(202)
  })

  it('gives the same answer also when the message has expired since', async () => {
    const headers = { 'idempotency-key': 'expires' }
    const body = message({ expires_at: new Date(Date.now() + 1_500).toISOString() })
    const first = await post('/v1/messages', body, headers)
    expect(first.statusCode).toBe(202)
    while ((await post('/v1/messages', body)).statusCode === 202)
      await new Promise((done) => setTimeout(done, 100))
    const second = await post('/v1/messages', body, headers)
    expect([second.statusCode, second.body]).toEqual([202, first.body])
  })

  it.each(['', 'two words', 'x'.repeat(256), 'ümlaut'])('refuses the key %j', async (key) => {
    expect((await post('/v1/messages', message(), { 'idempotency-key': key })).statusCode).toBe(400)
  })
})

describe('POST /v1/messages/batch', () => {
  it('judges each message by itself, in order', async () => {
    const answer = await post('/v1/messages/batch', {
      messages: [message(), 4, message({ to: 'x' }), message({ account: 'gupshup-main' })],
    })
    expect(answer.statusCode).toBe(202)
    const { results } = answer.json()
    expect(results).toMatchObject([
      { state: 'queued' },
      { error: { status: 400 } },
      { error: { status: 400, errors: [{ path: 'to' }] } },
      { state: 'queued' },
    ])
    expect((await read(results[3].id)).account).toBe('gupshup-main')
  })

  it('takes a thousand and refuses more or none', async () => {
    const messages = (count: number) => ({ messages: Array.from({ length: count }, () => message()) })
    const answer = await post('/v1/messages/batch', messages(1_000))
    expect(new Set(answer.json().results.map(({ id }: { id: string }) => id)).size).toBe(1_000)
    expect((await post('/v1/messages/batch', messages(1_001))).statusCode).toBe(400)
    expect((await post('/v1/messages/batch', messages(0))).statusCode).toBe(400)
  })
})

describe('look-ups', () => {
  it('page through the messages of one reference, across accounts', async () => {
    const ids: string[] = []
    for (let index = 0; index < 7; index++) {
      ids.push(await send({ reference: 'paged', account: index % 2 ? 'gupshup-main' : 'kaleyra-in' }))
    }
    const found: string[] = []
    let next: string | null = null
    let pages = 0
    do {
      const cursor: string = next ? `&cursor=${encodeURIComponent(next)}` : ''
      const page = (await api.inject({ url: `/v1/messages?reference=paged&limit=3${cursor}` })).json()
      expect(page.items.length).toBeLessThanOrEqual(3)
      found.push(...page.items.map(({ id }: MessageView) => id))
      next = page.next
    } while (next !== null && ++pages < 10)
    expect([...found].sort()).toEqual([...ids].sort())
  })

  it('finds a message by its request id', async () => {
    const id = await send()
    await api.storage.ledger.claim(parseMessageId(id)!, 0, 60_000, 'test')
    await api.storage.ledger.settle(parseMessageId(id)!, {
      attempt: 1,
      outcome: 'accepted',
      code: 'WA202',
      durationMs: 84,
      state: 'submitted',
      counts: true,
      requestId: 'AXXX-1',
    })
    const { items, next } = (await api.inject({ url: '/v1/messages?request_id=AXXX-1' })).json()
    expect(next).toBeNull()
    expect(items).toMatchObject([
      {
        id,
        request_id: 'AXXX-1',
        state: 'submitted',
        attempts: [{ outcome: 'accepted', code: 'WA202', duration_ms: 84 }],
      },
    ])
    expect((await api.inject({ url: '/v1/messages?request_id=unknown' })).json()).toEqual({
      items: [],
      next: null,
    })
  })

  it.each([
    '',
    '?reference=a&request_id=b',
    '?reference=a&limit=0',
    '?reference=a&limit=501',
    '?reference=a&cursor=zz',
    '?reference=a&x=1',
    '?reference=a&reference=b',
  ])('refuse the query %j', async (query) => {
    const answer = await api.inject({ url: `/v1/messages${query}` })
    expect(answer.statusCode).toBe(400)
    expect(answer.json().errors.length).toBeGreaterThan(0)
  })

  it.each(['msg_', 'msg_0001000000000a5f3c9d21', 'msg_ffff0000000000ffffffff', '..', '%00'])(
    'find nothing for the id %j',
    async (id) => {
      const answer = await api.inject({ url: `/v1/messages/${id}` })
      expect([400, 404]).toContain(answer.statusCode)
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    },
  )
})

describe('cancel', () => {
  it('ends a message that waits and takes its job from the lane', async () => {
    const id = await send()
    const answer = await post(`/v1/messages/${id}/cancel`)
    expect(answer.statusCode).toBe(200)
    expect(answer.json()).toMatchObject({ id, state: 'cancelled' })
    expect(await api.storage.lanes.get('kaleyra-in')!.getJob(`${id}-0`)).toBeUndefined()
    expect((await post(`/v1/messages/${id}/cancel`)).statusCode).toBe(200)
  })

  it('is too late once it is being sent', async () => {
    const id = await send()
    await api.storage.ledger.claim(parseMessageId(id)!, 0, 60_000, 'test')
    const answer = await post(`/v1/messages/${id}/cancel`)
    expect(answer.statusCode).toBe(409)
    expect(answer.json().detail).toContain('sending')
  })

  it('takes no body', async () => {
    const id = await send()
    expect((await post(`/v1/messages/${id}/cancel`, { force: true })).statusCode).toBe(400)
    expect((await post(`/v1/messages/${id}/cancel`, {})).statusCode).toBe(200)
  })
})

describe('resolve', () => {
  it.each([
    ['submitted', 'submitted'],
    ['failed', 'failed'],
    ['resend', 'queued'],
  ])('decides an uncertain message as %s', async (as, state) => {
    const id = await send()
    await makeUncertain(id)
    const answer = await post(`/v1/messages/${id}/resolve`, { as })
    expect(answer.statusCode, answer.body).toBe(200)
    expect(answer.json()).toMatchObject({ id, state })
    const again = await api.storage.lanes.get('kaleyra-in')!.getJob(`${id}-1`)
    expect(again?.data.generation).toBe(as === 'resend' ? 1 : undefined)
    expect((await post(`/v1/messages/${id}/resolve`, { as })).statusCode).toBe(409)
  })

  it('refuses what cannot be decided', async () => {
    const id = await send()
    expect((await post(`/v1/messages/${id}/resolve`, { as: 'failed' })).statusCode).toBe(409)
    expect((await post(`/v1/messages/${id}/resolve`, { as: 'maybe' })).statusCode).toBe(400)
    expect((await post(`/v1/messages/${id}/resolve`)).statusCode).toBe(400)
  })
})
