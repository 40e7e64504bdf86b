/** Files of recipients over real connections: whole, broken off, repeated, unreadable, slow. */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { parseCampaignId } from '@wa-dispatch/dispatch'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { useRedis } from '../../../../../test/redis.ts'
import { campaign, startApi, type TestApi, type TestApiOptions } from '../../testing.ts'

const redis = await useRedis(afterAll)

interface Listening extends TestApi {
  port: number
}
async function listen(options?: TestApiOptions): Promise<Listening> {
  const api = await startApi(redis.url, options)
  await api.app.listen({ port: 0, host: '127.0.0.1' })
  return Object.assign(api, { port: (api.app.server.address() as AddressInfo).port })
}
const api = await listen()

const make = async (more: Record<string, unknown> = {}, on: TestApi = api): Promise<string> => {
  const answer = await on.inject({ method: 'POST', url: '/v1/campaigns', payload: campaign(more) })
  expect(answer.statusCode, answer.body).toBe(201)
  return answer.json().id
}
const read = async (id: string) => (await api.inject({ url: `/v1/campaigns/${id}` })).json()

interface Answer {
  status: number
  headers: http.IncomingHttpHeaders
  json: Record<string, unknown> & { detail: string }
}

function open(id: string, headers: http.OutgoingHttpHeaders = {}, on = api) {
  const request = http.request({
    host: '127.0.0.1',
    port: on.port,
    method: 'POST',
    path: `/v1/campaigns/${id}/recipients`,
    agent: false,
    headers: { authorization: 'Bearer key-all', 'content-type': 'text/csv', ...headers },
  })
  const answer = once(request, 'response').then(async ([response]): Promise<Answer> => {
    let text = ''
    for await (const part of response) text += part
    return { status: response.statusCode, headers: response.headers, json: JSON.parse(text) }
  })
  answer.catch(() => undefined)
  return { request, answer }
}

/** Sends in pieces of a size. */
async function upload(
  id: string,
  body: string | Buffer,
  headers?: http.OutgoingHttpHeaders,
  pieceBytes = 50_000,
): Promise<Answer> {
  const { request, answer } = open(id, headers)
  const bytes = Buffer.from(body)
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    if (request.write(bytes.subarray(at, at + pieceBytes))) continue
    // Who has its answer stops sending.
    if (await Promise.race([answer, once(request, 'drain').then(() => undefined)])) return answer
  }
  request.end()
  return answer
}

const HEADER = 'to,reference,name\n'
const numbers = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index)
const row = (number: number) => `91${9_000_000_000 + number},order-${number},Asha ${number}\n`
const csv = (from: number, count: number) => HEADER + numbers(from, count).map(row).join('')
const keyed = (key: string) => ({ 'idempotency-key': key })

/** The campaign's rows as they are kept, in order. */
async function kept(id: string) {
  const { campaigns } = api.storage
  const { chunks } = (await campaigns.read(parseCampaignId(id)!))!
  const found = []
  for (let number = 0; number < chunks; number++) {
    const chunk = (await campaigns.chunk(parseCampaignId(id)!, number))!
    found.push(...chunk.rows.filter((row) => row !== undefined))
  }
  return found
}

describe('a file of recipients', () => {
  it('is taken row by row; what does not fit is named by its line', async () => {
    const id = await make()
    const file = [
      'to,name,reference',
      '+919876543210,Asha,order-1',
      '0123,Vikram,',
      '919876543211,"Rao, Meera",',
      `919876543212,${'x'.repeat(1_100)},`,
      '919876543210,Asha again,',
      '919876543213,too,many,cells',
    ].join('\r\n')
    const { status, json } = await upload(id, file)
    expect(status).toBe(200)
    expect(json).toEqual({
      accepted: 2,
      rejected: 3,
      duplicates: 1,
      errors: [
        { line: 3, message: expect.stringMatching(/E\.164|digits/) },
        { line: 5, message: expect.stringMatching(/^message\.interactive\.body\.text: .*filling in/) },
        { line: 7, message: expect.stringContaining('columns') },
      ],
    })
    expect(await kept(id)).toEqual([
      { line: 2, to: '919876543210', reference: 'order-1', values: ['Asha'] },
      { line: 4, to: '919876543211', values: ['Rao, Meera'] },
    ])
    expect(await read(id)).toMatchObject({ total: 2, rejected: 3, duplicates: 1, counts: { queued: 2 } })
    expect(await api.storage.campaigns.refusals(parseCampaignId(id)!)).toEqual({
      to: 1,
      content: 1,
      columns: 1,
    })
  })

  it('may be NDJSON, gzip, and come in several parts', async () => {
    const id = await make()
    const ndjson = numbers(0, 1_300)
      .map((number) => JSON.stringify({ to: `+91${9_000_000_000 + number}`, variables: { name: 'Asha' } }))
      .join('\n')
    const zipped = { 'content-type': 'application/x-ndjson; charset=utf-8', 'content-encoding': 'gzip' }
    expect((await upload(id, gzipSync(ndjson), zipped, 700)).json).toEqual({
      accepted: 1_300,
      rejected: 0,
      duplicates: 0,
      errors: [],
    })
    expect((await upload(id, csv(1_000, 1_000))).json).toMatchObject({ accepted: 700, duplicates: 300 })
    expect(await read(id)).toMatchObject({ total: 2_000, duplicates: 300, counts: { queued: 2_000 } })
  })

  it('tells of a row without a variable that the message needs', async () => {
    const id = await make()
    const line = JSON.stringify({ to: '919876543210', variables: { nome: 'Asha' } })
    const { json } = await upload(id, line, { 'content-type': 'application/x-ndjson' })
    expect(json).toMatchObject({ accepted: 0, rejected: 1 })
    expect(json.errors).toEqual([{ line: 1, message: 'variables.name: is missing' }])
  })

  it('names the first hundred errors only and counts all', async () => {
    const id = await make()
    const { json } = await upload(id, `${HEADER}${'nobody,,Asha\n'.repeat(3_000)}`)
    expect(json).toMatchObject({ accepted: 0, rejected: 3_000 })
    expect((json.errors as { line: number }[]).map(({ line }) => line)).toEqual(numbers(2, 100))
    expect(await read(id)).toMatchObject({ total: 0, rejected: 3_000 })
  })

  it('may overlap with another that is sent at the same time', async () => {
    const id = await make()
    const answers = await Promise.all([upload(id, csv(0, 4_000)), upload(id, csv(2_000, 4_000))])
    const sum = (name: string) => answers.reduce((total, { json }) => total + Number(json[name]), 0)
    expect([sum('accepted'), sum('duplicates')]).toEqual([6_000, 2_000])
    expect(await read(id)).toMatchObject({ total: 6_000, duplicates: 2_000 })
    expect(new Set((await kept(id)).map(({ to }) => to)).size).toBe(6_000)
  })

  it.each([
    ['application/json', undefined],
    ['text/csv; charset=iso-8859-1', undefined],
    ['multipart/form-data; boundary=x', undefined],
    ['text/csv', 'br'],
    ['text/csv', 'gzip, gzip'],
  ])('of type %s, encoded %s, is not taken', async (type, encoding) => {
    const { status, json } = await upload(await make(), csv(0, 3), {
      'content-type': type,
      ...(encoding && { 'content-encoding': encoding }),
    })
    expect(status).toBe(415)
    expect(json.detail).toMatch(/text\/csv|gzip/)
  })

  it('without a type and a body is not taken', async () => {
    const answer = await api.inject({ method: 'POST', url: `/v1/campaigns/${await make()}/recipients` })
    expect(answer.statusCode).toBe(415)
  })

  it('is no body for other addresses', async () => {
    const answer = await api.inject({
      method: 'POST',
      url: '/v1/messages',
      headers: { 'content-type': 'text/csv' },
      payload: csv(0, 1),
    })
    expect(answer.statusCode).toBe(415)
  })
})

describe('a file that cannot be read', () => {
  const good = csv(0, 600)
  const type = (headers: http.OutgoingHttpHeaders) => headers
  it.each<[string, string | Buffer, RegExp, number, http.OutgoingHttpHeaders]>([
    ['has another delimiter', 'to;name\n919876543210;Asha\n', /comma|delimiter|;/i, 0, {}],
    ['has no column `to`', 'phone,name\n919876543210,Asha\n', /\bto\b/, 0, {}],
    ['has a quote that is never closed', `${good}919876543210,r,"Asha\n${csv(700, 3_000)}`, /602/, 600, {}],
    ['has a line of 10 MB', `${good}${'x'.repeat(10_000_000)}`, /602/, 600, {}],
    ['is binary', Buffer.from(numbers(0, 4_000).map((number) => (number * 7) % 256)), /UTF-8|text/, 0, {}],
    [
      'is Latin-1',
      Buffer.concat([Buffer.from(good), Buffer.from('919876543210,r,J\xfcrgen\n', 'latin1')]),
      /602.*UTF-8/,
      600,
      {},
    ],
    ['is empty', '', /empty/, 0, {}],
    ['is no gzip', good, /gzip/, 0, type({ 'content-encoding': 'gzip' })],
    [
      'is half a gzip',
      gzipSync(good).subarray(0, 1_500),
      /cut off/,
      -1,
      type({ 'content-encoding': 'gzip' }),
    ],
    [
      'is a bomb',
      gzipSync(Buffer.alloc(40_000_000, '9')),
      /inflates|long|bytes/,
      0,
      type({ 'content-encoding': 'gzip' }),
    ],
  ])(
    'because it %s is refused; what was before stays and is told',
    async (_why, file, words, accepted, headers) => {
      const id = await make()
      const { status, json, headers: sent } = await upload(id, file, headers)
      expect(status, json.detail).toBe(400)
      expect(sent['content-type']).toMatch(/^application\/problem\+json/)
      expect(json.detail).toMatch(words)
      if (accepted >= 0) expect(json.accepted).toBe(accepted)
      expect(json).toMatchObject({ rejected: 0, duplicates: 0, errors: [] })
      expect(json.detail).toContain(
        json.accepted === 0 ? 'Nothing was accepted' : `${json.accepted} rows before`,
      )
      expect((await read(id)).total).toBe(json.accepted)
    },
  )

  it('has a mark of UTF-8: that is no fault', async () => {
    expect((await upload(await make(), `\ufeff${csv(0, 3)}`)).json).toMatchObject({ accepted: 3 })
  })

  it('gives the same refusal again under its key; mended it needs another one', async () => {
    const id = await make()
    const bad = `${csv(0, 700)}919876543210,r,"Asha\n`
    const [first, second] = [await upload(id, bad, keyed('bad')), await upload(id, bad, keyed('bad'))]
    expect(second!.json).toEqual(first!.json)
    expect(first!.json.detail).toContain('another Idempotency-Key')
    const mended = csv(0, 701)
    expect((await upload(id, mended, keyed('bad'))).status).toBe(422)
    expect((await upload(id, mended, keyed('mended'))).json).toMatchObject({ accepted: 1, duplicates: 700 })
  })
})

describe('Idempotency-Key', () => {
  const file = `${csv(0, 1_500)}nobody,,Asha\n${numbers(1_400, 300).map(row).join('')}`

  it('gives the same answer again, however the network cuts the file, also when the campaign is over', async () => {
    const id = await make()
    const first = await upload(id, file, keyed('again'), 60_000)
    expect(first.json).toMatchObject({ accepted: 1_700, rejected: 1, duplicates: 100 })
    expect(first.headers['idempotency-replayed']).toBeUndefined()
    for (const pieceBytes of [997, 60_000]) {
      const again = await upload(id, file, keyed('again'), pieceBytes)
      expect([again.status, again.json, again.headers['idempotency-replayed']]).toEqual([
        200,
        first.json,
        'true',
      ])
    }
    await api.inject({ method: 'POST', url: `/v1/campaigns/${id}/cancel` })
    expect((await upload(id, file, keyed('again'))).json).toEqual(first.json)
    expect(await read(id)).toMatchObject({ total: 1_700, rejected: 1, duplicates: 100 })
  })

  it.each([
    ['shorter by a row', csv(0, 1_499)],
    ['shorter by chunks', csv(0, 512)],
    ['longer', csv(0, 2_500)],
    ['changed in the middle', csv(0, 1_500).replace('order-700,', 'order-7oo,')],
    ['another one', csv(50_000, 1_500)],
  ])('refuses a file that is %s', async (_how, other) => {
    const id = await make()
    await upload(id, csv(0, 1_500), keyed('same'))
    const { status, json } = await upload(id, other, keyed('same'))
    expect([status, json.type]).toEqual([422, 'urn:wa-dispatch:problem:idempotency-key-reused'])
    expect(await read(id)).toMatchObject({ total: 1_500, duplicates: 0 })
  })

  it('makes one upload of one that broke off and its repeat', async () => {
    const id = await make()
    const whole = `${file}${numbers(3_000, 20_000).map(row).join('')}`
    const { request, answer } = open(id, keyed('broken'))
    request.on('error', () => undefined)
    request.write(whole.slice(0, Math.round(whole.length / 2)))
    await expect.poll(async () => (await read(id)).total, { timeout: 20_000 }).toBeGreaterThan(5_000)
    request.destroy()
    await expect(answer).rejects.toThrow()
    await expect.poll(() => api.logged.some((line) => line.includes('campaign.upload_broken'))).toBe(true)
    const stored = (await read(id)).total
    expect(stored).toBeLessThan(21_700)

    const repeated = await upload(id, whole, keyed('broken'))
    const unbroken = await upload(await make(), whole)
    expect(repeated.json).toEqual(unbroken.json)
    expect(repeated.json).toMatchObject({ accepted: 21_700, rejected: 1, duplicates: 100 })
    expect(await read(id)).toMatchObject({ total: 21_700, rejected: 1, duplicates: 100 })
    expect((await upload(id, whole, keyed('broken'))).headers['idempotency-replayed']).toBe('true')
  })
})

describe('a campaign that takes no more', () => {
  it('says so before the file is read, and the connection ends in good order', async () => {
    const id = await make()
    await api.inject({ method: 'POST', url: `/v1/campaigns/${id}/cancel` })
    const { request, answer } = open(id)
    request.write(HEADER)
    let open_ = true
    const sending = (async () => {
      for (let from = 0; open_ && from < 20_000; from += 1_000) {
        request.write(numbers(from, 1_000).map(row).join(''))
        await sleep(5)
      }
    })()
    const { status, json, headers } = await answer
    expect([status, headers.connection]).toEqual([409, 'close'])
    expect(json.detail).toContain('cancelled')
    open_ = false
    await sending
    request.destroy()
  })

  it('by the time it is cancelled tells what was taken', async () => {
    const id = await make()
    const { request, answer } = open(id)
    request.write(csv(0, 2_000))
    await expect.poll(async () => (await read(id)).total, { timeout: 20_000 }).toBeGreaterThan(500)
    await api.inject({ method: 'POST', url: `/v1/campaigns/${id}/cancel` })
    request.end(numbers(2_000, 2_000).map(row).join(''))
    const { status, json } = await answer
    expect(status).toBe(409)
    expect(json.accepted).toBe((await read(id)).total)
  })
})

describe('time', () => {
  it('is what an upload may take, as long as it goes on; other requests may not', async () => {
    const hurried = await listen({ timeouts: { requestMs: 400, lookMs: 100, uploadIdleMs: 20_000 } })
    const id = await make({}, hurried)
    const { request, answer } = open(id, {}, hurried)
    request.write(HEADER)
    for (let number = 0; number < 20; number++) {
      request.write(row(number))
      await sleep(100)
    }
    request.end()
    expect((await answer).json).toMatchObject({ accepted: 20 })

    const slow = http.request({
      host: '127.0.0.1',
      port: hurried.port,
      method: 'POST',
      path: '/v1/messages',
      agent: false,
      headers: {
        authorization: 'Bearer key-all',
        'content-type': 'application/json',
        'content-length': 1_000,
      },
    })
    slow.on('error', () => undefined)
    slow.write('{')
    const [response] = await once(slow, 'response')
    expect(response.statusCode).toBe(408)
    slow.destroy()
    await hurried.close()
  })

  it('is not given to an upload that stands still', async () => {
    const strict = await listen({ timeouts: { uploadIdleMs: 1_000 } })
    const id = await make({}, strict)
    const { request, answer } = open(id, keyed('still'), strict)
    request.write(csv(0, 600))
    const { status, json, headers } = await answer
    expect([status, headers.connection]).toEqual([408, 'close'])
    expect(json).toMatchObject({ accepted: 512 })
    expect(json.detail).toMatch(/Nothing more .* arrived .* same Idempotency-Key is safe/)
    request.destroy()
    await strict.close()
  })

  it('of closing ends uploads with a word', async () => {
    const closing = await listen()
    const id = await make({}, closing)
    const { request, answer } = open(id, {}, closing)
    request.write(csv(0, 1_100))
    await expect.poll(async () => (await read(id)).total, { timeout: 20_000 }).toBe(512)
    const closed = closing.close()
    const { status, headers, json } = await answer
    expect([status, Number(headers['retry-after'])]).toEqual([503, 2])
    expect(json).toMatchObject({ accepted: 1_024 })
    request.destroy()
    await closed
  })
})

describe('with a Redis that', () => {
  afterEach(() => redis.thaw().catch(() => undefined))
  const many = numbers(0, 100_000).map(row).join('')

  it('is slow the sender is slowed, and nothing piles up', { timeout: 60_000 }, async () => {
    const id = await make()
    const { request, answer } = open(id)
    let sent = 0
    const sending = (async () => {
      request.write(HEADER)
      for (let round = 0; round < 8; round++) {
        // Each round other numbers, as long as a round before.
        const text = many.replace(/^919/gm, `9${round}9`)
        for (let at = 0; at < text.length; at += 100_000) {
          const piece = text.slice(at, at + 100_000)
          sent += piece.length
          if (!request.write(piece)) await once(request, 'drain')
        }
      }
      request.end()
    })()
    await expect.poll(async () => (await read(id)).total, { timeout: 20_000 }).toBeGreaterThan(2_000)
    await api.storage.redis.call('CLIENT', 'PAUSE', '2500', 'ALL')
    await sleep(1_000)
    const atFirst = sent
    await sleep(1_000)
    // What fits into the buffers on the way, and a few chunks.
    expect(sent - atFirst).toBeLessThan(100_001)
    expect(sent).toBeLessThan(8 * many.length)
    await sending
    expect((await answer).json).toMatchObject({ accepted: 800_000, rejected: 0 })
  })

  it('goes away: 503, and the repeat makes one upload of both', { timeout: 60_000 }, async () => {
    const id = await make()
    const file = HEADER + many
    const { request, answer } = open(id, keyed('away'))
    request.on('error', () => undefined)
    request.write(file.slice(0, file.length / 2))
    await expect.poll(async () => (await read(id)).total, { timeout: 20_000 }).toBeGreaterThan(2_000)
    await redis.kill()
    request.write(file.slice(file.length / 2))
    request.end()
    const { status, headers, json } = await answer
    expect([status, Number(headers['retry-after'])]).toEqual([503, 2])
    expect(json.detail).toContain('same Idempotency-Key is safe')
    expect(json.accepted).toBeGreaterThan(0)
    expect((await upload(id, file, keyed('away'))).status).toBe(503)

    await redis.start()
    await expect
      .poll(async () => (await upload(id, file, keyed('away'))).status, { timeout: 20_000 })
      .toBe(200)
    const again = await upload(id, file, keyed('away'))
    expect(again.json).toEqual({ accepted: 100_000, rejected: 0, duplicates: 0, errors: [] })
    expect(await read(id)).toMatchObject({ total: 100_000, duplicates: 0 })
  })
})

it('counts rows by account in the metrics', async () => {
  await upload(await make({ account: 'gupshup-main' }), `${csv(0, 3)}${row(1)}nobody,,\n`)
  const { body } = await api.inject({ url: '/metrics' })
  for (const [result, count] of [
    ['accepted', 3],
    ['duplicate', 1],
    ['rejected', 1],
  ]) {
    expect(body).toContain(
      `wa_dispatch_campaign_rows_total{account="gupshup-main",result="${result}"} ${count}`,
    )
  }
})
