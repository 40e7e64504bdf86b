import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import type { LedgerReceipt } from '@wa-dispatch/dispatch'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { useRedis } from '../../../../../test/redis.ts'
import { startApi } from '../../testing.ts'

const redis = await useRedis(afterAll)
const api = await startApi(redis.url, { requestsPerSecond: 20 })
const { storage } = api
const url = '/v1/receipts/kaleyra-in'
const token = 'receipts-k'
const delivered = { statuses: [{ id: 'AXXX', status: 'delivered' }] }

const post = ({ headers = {}, ...options }: Partial<Parameters<typeof api.inject>[0]> = {}) =>
  api.inject({ method: 'POST', url, payload: delivered, key: null, ...options, headers })
/** With the right token. */
const bring = (options: Parameters<typeof post>[0] = {}) =>
  post({ ...options, headers: { 'x-receipt-token': token, ...options.headers } })

/** What lies in the account's stream. */
async function kept(): Promise<string[]> {
  const bodies: string[] = []
  for (let empty = 0; empty < 2; ) {
    const entries = await storage.receipts.take('kaleyra-in', 'test')
    bodies.push(...entries.flatMap((entry) => entry.bodies))
    await storage.receipts.done('kaleyra-in', entries)
    if (entries.length === 0) empty++
  }
  return bodies
}
beforeEach(kept)

describe('a receipt', () => {
  it('is answered when it is kept, exactly as it came', async () => {
    const text = '{ "message_id": 604132581490819100,\n "status":"read ü😀" }'
    const answer = await bring({ payload: text, headers: { 'content-type': 'application/json' } })
    expect([answer.statusCode, answer.json()]).toEqual([200, { received: true }])
    expect(await kept()).toEqual([text])
  })

  it('is taken with whatever content type, or none', async () => {
    for (const type of ['application/json; charset=utf-8', 'text/plain', 'application/x-whatever', 'json']) {
      const answer = await bring({ payload: JSON.stringify({ type }), headers: { 'content-type': type } })
      expect(answer.statusCode, type).toBe(200)
    }
    expect((await bring({ payload: Buffer.from('{"type":null}') })).statusCode).toBe(200)
    expect((await bring({ payload: '\ufeff{"mark":1}' })).statusCode).toBe(200)
    expect(await kept()).toHaveLength(6)
  })

  it('may be a list, or a check of the address', async () => {
    for (const payload of ['[]', '{}', '{"object":"platform-event"}', 'null', '7'])
      expect((await bring({ payload, headers: { 'content-type': 'application/json' } })).statusCode).toBe(200)
    expect(await kept()).toHaveLength(5)
  })

  it('that is no JSON is refused', async () => {
    for (const payload of ['', '{', 'status=delivered', '{"a":1}}', '<xml/>']) {
      const answer = await bring({ payload, headers: { 'content-type': 'application/json' } })
      expect([answer.statusCode, answer.json().title], payload).toEqual([400, 'The request does not fit'])
    }
    expect(await kept()).toEqual([])
  })

  it('of 1 MiB is taken, a longer one is refused', async () => {
    const headers = { 'content-type': 'application/json' }
    const text = (bytes: number) => `"${'x'.repeat(bytes - 2)}"`
    expect((await bring({ payload: text(1_048_576), headers })).statusCode).toBe(200)
    expect((await bring({ payload: text(1_048_577), headers })).statusCode).toBe(413)
    expect(await kept()).toHaveLength(1)
  })

  it('has no limit of requests a second: a provider has no key', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, () => bring()))
    expect(answers.every(({ statusCode }) => statusCode === 200)).toBe(true)
    expect(await kept()).toHaveLength(200)
  })
})

describe('who brings it', () => {
  const withQuery = (query: string) => post({ url: `${url}${query}` })

  it('may show the token in the query or in a header', async () => {
    expect((await bring()).statusCode).toBe(200)
    expect((await withQuery(`?token=${token}`)).statusCode).toBe(200)
    expect((await withQuery(`?a=b&token=${token}&c`)).statusCode).toBe(200)
  })

  it('is refused with another token, or none, and nothing is kept', async () => {
    const refused = [
      await bring({ headers: { 'x-receipt-token': 'receipts-x' } }),
      await bring({ headers: { 'x-receipt-token': '' } }),
      await bring({ url: `${url}?token=${token}`, headers: { 'x-receipt-token': 'receipts-x' } }),
      await withQuery(''),
      await withQuery('?token='),
      await withQuery(`?token=${token}x`),
      await withQuery(`?token=${token}&token=${token}`),
      await withQuery(`?Token=${token}`),
      await post({ headers: { authorization: `Bearer ${token}` } }),
      await post({ key: 'key-all' }),
    ]
    for (const answer of refused) {
      expect(answer.statusCode).toBe(401)
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
      expect(answer.headers['www-authenticate']).toMatch(/^Receipt-Token /)
      expect(answer.body).not.toContain(token)
    }
    expect(await kept()).toEqual([])
  })

  it('is refused before the body is read', async () => {
    const answer = await bring({ headers: { 'x-receipt-token': 'x' }, payload: 'x'.repeat(2_000_000) })
    expect(answer.statusCode).toBe(401)
  })

  it('is told that the account is not there, has no token, or a provider that sends none', async () => {
    const status = async (account: string) => (await bring({ url: `/v1/receipts/${account}` })).statusCode
    expect(await status('nobody')).toBe(404)
    expect(await status('__proto__')).toBe(404)
    expect(await status('gupshup-main')).toBe(403)
    expect(await status('zixflow-old')).toBe(404)
  })

  it('leaves no token in the log', async () => {
    await withQuery(`?token=${token}`)
    await withQuery(`?token=wrong-token`)
    await bring({ url: `/v1/receipts/nobody?token=wrong-token` })
    await bring({ url: `/v1/receipts/a/b?token=wrong-token` })
    await api.inject({ method: 'DELETE', url: `${url}?token=wrong-token`, key: null })
    await bring({ url: `${url}?token=%`, payload: '{' })
    const log = api.logged.join('\n')
    expect(log).toContain('/v1/receipts/:account')
    expect(log).not.toMatch(/receipts-k|wrong-token/)
  })
})

describe('over a real connection', () => {
  it('thousands at a time are all kept', { timeout: 60_000 }, async () => {
    await api.app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = api.app.server.address() as { port: number }
    const agent = new Agent({ keepAlive: true, maxSockets: 50 })
    const send = (number: number) =>
      new Promise<number>((resolve, reject) => {
        const body = JSON.stringify({ number })
        const headers = { 'content-type': 'application/json', 'content-length': body.length }
        httpRequest({ port, agent, method: 'POST', path: `${url}?token=${token}`, headers }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode!))
        })
          .on('error', reject)
          .end(body)
      })
    const statuses = await Promise.all(Array.from({ length: 3_000 }, (_, number) => send(number)))
    agent.destroy()
    expect(new Set(statuses)).toEqual(new Set([200]))
    const numbers = (await kept()).map((text) => JSON.parse(text).number as number)
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 3_000 }, (_, number) => number))

    // A body that breaks off is nobody's receipt.
    const socket = connect(port, '127.0.0.1')
    socket.resume()
    socket.end(`POST ${url}?token=${token} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{}`)
    await new Promise((resolve) => socket.once('close', resolve))
    expect(await kept()).toEqual([])
  })
})

describe('receipts that match no message', () => {
  const unmatched = (number: number): LedgerReceipt => ({
    requestId: `request-${number}`,
    wamid: `wamid.${number}`,
    recipient: '919876543210',
    status: 'delivered',
    state: 'delivered',
    at: Date.UTC(2026, 10, 22) + number,
  })
  const list = (query: string) => api.inject({ url: `/v1/receipts?unmatched=true${query}` })

  it('are listed page by page, account by account', async () => {
    const each = Array.from({ length: 7 }, (_, number) => unmatched(number))
    await storage.ledger.applyReceipts('kaleyra-in', each)
    await storage.ledger.applyReceipts('gupshup-main', each.slice(0, 3))
    const found: { account: string; request_id: string }[] = []
    for (let cursor = ''; ; ) {
      const answer = await list(`&limit=2${cursor && `&cursor=${cursor}`}`)
      expect(answer.statusCode).toBe(200)
      const { items, next } = answer.json()
      found.push(...items)
      expect(items.length).toBeLessThanOrEqual(2)
      if (next === null) break
      cursor = next
    }
    const of = (account: string) =>
      found.filter((item) => item.account === account).map((item) => item.request_id)
    expect(of('kaleyra-in').sort()).toEqual(each.map(({ requestId }) => requestId))
    expect(of('gupshup-main').sort()).toEqual(each.slice(0, 3).map(({ requestId }) => requestId))
    expect(found).toHaveLength(10)
    const { items } = (await list('&account=gupshup-main')).json()
    expect(items).toHaveLength(3)
    expect(items).toContainEqual({
      account: 'gupshup-main',
      at: '2026-11-22T00:00:00.001Z',
      received_at: expect.stringMatching(/^20/),
      status: 'delivered',
      request_id: 'request-1',
      wamid: 'wamid.1',
      to: '919876543210',
    })
  })

  it('are asked for in no other way', async () => {
    const status = async (address: string) => (await api.inject({ url: address })).statusCode
    expect(await status('/v1/receipts')).toBe(400)
    expect(await status('/v1/receipts?unmatched=false')).toBe(400)
    expect(await status('/v1/receipts?unmatched=true&account=nobody')).toBe(400)
    expect(await status('/v1/receipts?unmatched=true&limit=0')).toBe(400)
    expect(await status('/v1/receipts?unmatched=true&cursor=x')).toBe(400)
    expect(
      await status(`/v1/receipts?unmatched=true&cursor=${Buffer.from('row.1').toString('base64url')}`),
    ).toBe(400)
  })
})
