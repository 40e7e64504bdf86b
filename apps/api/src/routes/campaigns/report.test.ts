import { connect } from 'node:net'
import type { CampaignId } from '@wa-dispatch/dispatch'
import { parse } from 'csv-parse/sync'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  bring,
  feed,
  REACHABLE,
  recipients,
  testDefinition,
  upload,
} from '../../../../../packages/dispatch/src/campaigns/testing.ts'
import { useRedis } from '../../../../../test/redis.ts'
import { startApi } from '../../testing.ts'
import { chooseFormat } from './report-format.ts'

const redis = await useRedis(afterAll)
const api = await startApi(redis.url)
const { campaigns } = api.storage
let address: string

beforeAll(async () => {
  address = await api.app.listen({ host: '127.0.0.1', port: 0 })
})

type Row = Record<string, string>
const headers = { authorization: 'Bearer key-read' }
const report = (id: CampaignId, accept?: string) =>
  fetch(`${address}/v1/campaigns/${id.text}/report`, {
    headers: { ...headers, ...(accept !== undefined && { accept }) },
  })
const csvOf = async (answer: Response): Promise<Row[]> => parse(await answer.text(), { columns: true })
const create = (more = {}) => campaigns.create({ ...testDefinition, ...more })

/** 600 rows, in two chunks: some in every state a worker leads to, the rest untouched. */
async function running(): Promise<CampaignId> {
  const id = await create()
  await upload(api.storage, id, recipients(600))
  await campaigns.act(id, 'start')
  for (const [index, message] of (await feed(api.storage, id, 520)).entries()) {
    await bring(api.storage, message, REACHABLE[index % REACHABLE.length]!)
  }
  return id
}
const tally = (states: (string | undefined)[]) => {
  const counts: Record<string, number> = {}
  for (const state of states) counts[state!] = (counts[state!] ?? 0) + 1
  return counts
}

describe('GET /v1/campaigns/:id/report', () => {
  it('is CSV with a row a recipient, whose totals are the campaign’s counts', async () => {
    const id = await running()
    const answer = await report(id)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toMatch(/^text\/csv; charset=utf-8/)
    expect(answer.headers.get('content-disposition')).toBe(`attachment; filename="${id.text}.csv"`)
    const text = await answer.text()
    expect(text.split('\r\n')[0]).toMatch(
      /^line,to,reference,id,request_id,state,code,reason,attempts,updated_at,/,
    )
    const rows: Row[] = parse(text, { columns: true })
    expect(rows.map(({ line }) => Number(line))).toEqual(Array.from({ length: 600 }, (_, index) => index + 1))
    expect(rows.map(({ to }) => to)).toEqual(recipients(600))
    expect(tally(rows.map(({ state }) => state))).toEqual((await campaigns.read(id))!.counts)
    const row = (state: string) => rows.find((row) => row.state === state)!
    expect(row('submitted')).toMatchObject({
      code: 'WA202',
      reason: 'accepted',
      attempts: '1',
      last_duration_ms: '84',
    })
    expect(row('submitted').request_id).toBe(`req-${row('submitted').id}`)
    expect(row('failed')).toMatchObject({ code: 'E110', reason: 'Insufficient balance', attempts: '1' })
    expect(row('uncertain')).toMatchObject({ code: 'ETIMEDOUT', reason: 'uncertain', request_id: '' })
    expect(row('sending')).toMatchObject({ code: '', attempts: '1', last_duration_ms: '' })
    const unfed = rows.at(-1)!
    expect(unfed).toMatchObject({ state: 'queued', code: '', attempts: '0', updated_at: '', request_id: '' })
    // The id is the message's to be.
    const message = await api.inject({ url: `/v1/messages/${unfed.id}` })
    expect(message.json()).toMatchObject({ to: unfed.to, state: 'queued', campaign_id: id.text })
  })

  it('is NDJSON where that is asked for, with the same rows', async () => {
    const id = await running()
    await campaigns.act(id, 'cancel')
    const answer = await report(id, 'application/x-ndjson')
    expect(answer.headers.get('content-type')).toMatch(/^application\/x-ndjson/)
    expect(answer.headers.get('content-disposition')).toContain(`${id.text}.ndjson`)
    const lines = (await answer.text()).split('\n')
    expect(lines.pop()).toBe('')
    const rows = lines.map((line) => JSON.parse(line))
    expect(tally(rows.map(({ state }) => state))).toEqual((await campaigns.read(id))!.counts)
    expect(rows.at(-1)).toMatchObject({ line: 600, state: 'cancelled', attempts: 0, request_id: null })
    const csv = await csvOf(await report(id))
    expect(csv).toEqual(
      rows.map((row) =>
        Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value ?? '')])),
      ),
    )
  })

  it('has a head and nothing else for a campaign without rows', async () => {
    const id = await create()
    expect(await csvOf(await report(id))).toEqual([])
    expect(await (await report(id)).text()).toMatch(/^line,to,/)
    expect(await (await report(id, 'application/x-ndjson')).text()).toBe('')
  })

  it('gives quotes, commas and line ends back as they are, and no formula to a spreadsheet', async () => {
    const references = [
      'a,b',
      'say "hi"',
      'two\r\nlines',
      '=1+1',
      '+cmd|x',
      '@SUM(A1)',
      '-2+3',
      '-42',
      '+4915',
      'ünï 😀',
    ]
    const id = await create()
    await upload(api.storage, id, recipients(references.length), 512, references)
    const shown = (await csvOf(await report(id))).map(({ reference }) => reference)
    expect(shown).toEqual([
      'a,b',
      'say "hi"',
      'two\r\nlines',
      "'=1+1",
      "'+cmd|x",
      "'@SUM(A1)",
      "'-2+3",
      '-42',
      '+4915',
      'ünï 😀',
    ])
    const lines = (await (await report(id, 'application/x-ndjson')).text()).trim().split('\n')
    expect(lines.map((line) => JSON.parse(line).reference)).toEqual(references)
  })

  it.each([
    [undefined, 'text/csv'],
    ['', 'text/csv'],
    ['*/*', 'text/csv'],
    ['text/*', 'text/csv'],
    ['application/*', 'application/x-ndjson'],
    ['text/csv;q=0.5, application/x-ndjson', 'application/x-ndjson'],
    ['Application/X-NDJSON; charset=utf-8', 'application/x-ndjson'],
    ['*/*, text/csv;q=0', 'application/x-ndjson'],
    ['text/html, */*;q=0.1', 'text/csv'],
    ['application/json', undefined],
    ['text/csv;q=0', undefined],
    [',;q', undefined],
  ])('answers Accept %j with %s', (accept, type) => {
    expect(chooseFormat(accept)?.type).toBe(type)
  })

  it('refuses other types, unknown campaigns and keys that may not read', async () => {
    const id = await create()
    const other = await report(id, 'application/json')
    expect([other.status, other.headers.get('content-type')]).toEqual([
      406,
      'application/problem+json; charset=utf-8',
    ])
    for (const text of ['cmp_00010000000100000000', 'cmp_', 'x', `${id.text}0`]) {
      expect((await api.inject({ url: `/v1/campaigns/${text}/report` })).statusCode).toBe(404)
    }
    expect((await api.inject({ url: `/v1/campaigns/${id.text}/report`, key: 'send' })).statusCode).toBe(401)
    expect((await api.inject({ url: `/v1/campaigns/${id.text}/report`, key: 'key-send' })).statusCode).toBe(
      403,
    )
  })
})

describe('a report of many rows', () => {
  const CHUNKS = 300
  let id: CampaignId
  const reads = { chunks: 0 }
  beforeAll(async () => {
    id = await create()
    await upload(api.storage, id, recipients(CHUNKS * 512))
    const chunk = campaigns.chunk.bind(campaigns)
    campaigns.chunk = (...args) => {
      reads.chunks++
      return chunk(...args)
    }
  }, 60_000)

  /** A client that reads nothing until it is told to. */
  async function slowClient() {
    const socket = connect(Number(new URL(address).port), '127.0.0.1')
    socket.pause()
    socket.write(
      `GET /v1/campaigns/${id.text}/report HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-read\r\nconnection: close\r\n\r\n`,
    )
    reads.chunks = 0
    // It reads until the buffers on the way are full, and no further.
    let before = -1
    while (before !== reads.chunks || before === 0) {
      before = reads.chunks
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    return socket
  }
  const received = (socket: ReturnType<typeof connect>) =>
    new Promise<string>((resolve) => {
      let text = ''
      socket.on('data', (data) => {
        text += data
      })
      socket.once('error', () => undefined)
      socket.once('close', () => resolve(text))
    })

  it('waits for a slow client, and is whole in the end', async () => {
    const socket = await slowClient()
    expect(reads.chunks).toBeLessThan(CHUNKS / 2)
    const body = received(socket)
    socket.resume()
    const text = await body
    expect(text.endsWith('0\r\n\r\n')).toBe(true)
    expect(text).toContain(`\n${CHUNKS * 512},`.slice(1))
    expect(reads.chunks).toBe(CHUNKS)
  })

  it('stops reading when its client goes away', async () => {
    const socket = await slowClient()
    const before = reads.chunks
    socket.destroy()
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(reads.chunks).toBeLessThanOrEqual(before + 2)
  })

  it('cuts the connection rather than look complete when rows are gone', async () => {
    const socket = await slowClient()
    const keys = api.storage.ledger.keysOf('kaleyra-in')
    await api.storage.redis.del(`${keys.campaign(id.number)}:r:${CHUNKS - 1}`)
    const body = received(socket)
    socket.resume()
    const text = await body
    expect(text.length).toBeGreaterThan(100_000)
    expect(text.endsWith('0\r\n\r\n')).toBe(false)
    await expect(report(id).then((answer) => answer.text())).rejects.toThrow()
  })
})
