import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createHttp } from '../http.ts'
import { closedPort, startHttp } from '../testing/loopback.ts'
import { zixflow } from './index.ts'

/** "Get Message Delivery Report", its response with a request id like the other pages'. */
const requestId = 'f8df74d1-11fa-4485-b164-b9a65358f4fc'
const report = {
  channel: 'whatsapp',
  message_id: 'wamid.XXX',
  recipient: '919876543210',
  request_id: requestId,
  status: 'delivered',
  statusAt: '2024-01-15T10:30:00Z',
  remark: 'Message delivered successfully',
  workspace_id: 'workspace_123',
}
const retrieved = { success: true, message: 'Delivery report retrieved successfully' }
const receipt = {
  requestId,
  wamid: 'wamid.XXX',
  status: 'delivered',
  state: 'delivered',
  at: Date.UTC(2024, 0, 15, 10, 30),
  recipient: '919876543210',
}

const http = createHttp({ connections: 5 })
let answer: { status: number; headers?: Record<string, string>; body: string }
let server: Awaited<ReturnType<typeof startHttp>>

beforeAll(async () => {
  server = await startHttp((_, response) => {
    response.writeHead(answer.status, answer.headers).end(answer.body)
  })
})
afterAll(async () => {
  http.close()
  await server.close()
})
beforeEach(() => {
  server.received.length = 0
})

function ask(baseUrl = server.url, timeoutMs = 5_000) {
  const account = { apiKey: 'key-12345678', workspaceId: 'workspace_123', phoneId: 'phone-1' }
  const context = { account: { ...account, baseUrl, timeoutMs, receiptToken: 'token-12345678' }, http }
  if (!zixflow.askReceipt) throw new Error('nobody to ask')
  return zixflow.askReceipt(requestId, context)
}

function answering(body: object | string, status = 200, headers?: Record<string, string>) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  answer = { status, body: text, ...(headers && { headers }) }
  return ask()
}

test('one GET with the credentials and the request id', async () => {
  await answering({ ...retrieved, data: report })
  expect(server.received).toMatchObject([
    {
      method: 'GET',
      path: `/api/data/messages/v1/delivery-report?request_id=${requestId}`,
      headers: { 'x-api-key': 'key-12345678', 'x-workspace-id': 'workspace_123' },
      body: '',
    },
  ])
  expect(server.received[0]?.headers).not.toHaveProperty('content-type')
})

describe('what it says', () => {
  const told = (...receipts: object[]) => ({
    answer: 'told',
    reading: { receipts, others: 0, unreadable: 0 },
  })

  test('a status, as the page prints it', async () => {
    expect(await answering({ ...retrieved, data: report })).toEqual(told(receipt))
  })

  test('several', async () => {
    const sent = { ...report, status: 'sent' }
    const both = told({ ...receipt, status: 'sent', state: 'sent' }, receipt)
    expect(await answering({ ...retrieved, data: [sent, report] })).toEqual(both)
    expect(await answering({ ...retrieved, data: { statuses: [sent, report] } })).toEqual(both)
  })

  test('a failure, in words', async () => {
    const data = { ...report, status: 'failed', remark: '131047: Re-engagement message' }
    expect(await answering({ ...retrieved, data })).toEqual(
      told({
        ...receipt,
        status: 'failed',
        state: 'failed',
        error: {
          code: '131047',
          message: 'more than 24 hours since the recipient last wrote (131047: Re-engagement message)',
        },
      }),
    )
  })

  test('a status without the request id is about the request asked for; one with another id is not', async () => {
    const { request_id: _, ...anonymous } = report
    expect(await answering({ ...retrieved, data: anonymous })).toEqual(told(receipt))
    expect(await answering({ ...retrieved, data: { ...report, request_id: 'other' } })).toMatchObject({
      answer: 'nothing',
    })
  })

  test('a word that nobody knows moves nothing', async () => {
    const { state: _, ...unmoved } = receipt
    expect(await answering({ ...retrieved, data: { ...report, status: 'Queued' } })).toEqual(
      told({ ...unmoved, status: 'queued' }),
    )
  })

  test.for([
    ['no data', { ...retrieved, data: null }, 200],
    ['an empty list', { ...retrieved, data: [] }, 200],
    ['an odd answer', { hello: 'world' }, 200],
    ['a no', { success: false, message: 'Request not found' }, 200],
    ['a no with 404', { success: false, message: 'Request not found' }, 404],
  ] as const)('nothing: %s', async ([, body, status]) => {
    expect(await answering(body, status)).toMatchObject({ answer: 'nothing', code: `HTTP_${status}` })
  })

  test('too fast', async () => {
    expect(await answering('', 429, { 'retry-after': '3' })).toEqual({
      answer: 'throttled',
      code: 'HTTP_429',
      message: 'too many requests',
      retryAfterMs: 3_000,
    })
    expect(await answering({ success: false, message: 'slow down' }, 429)).toMatchObject({
      answer: 'throttled',
    })
  })

  test('a refusal keeps its words but no secret', async () => {
    const message = 'key-12345678 is not valid for ?token=token-12345678'
    expect(await answering({ success: false, message }, 401)).toEqual({
      answer: 'failed',
      code: 'HTTP_401',
      message: '[secret] is not valid for ?token=[secret]',
    })
  })

  test.for([
    ['a page', '<p>Oops</p>', 200],
    ['nothing', '', 200],
    ['a list', '[]', 200],
    ['a bare 404', '', 404],
    ['a bad gateway', '<p>nginx</p>', 502],
  ] as const)('unreadable: %s', async ([, body, status]) => {
    expect(await answering(body, status)).toMatchObject({ answer: 'failed', code: `HTTP_${status}` })
  })
})

test('nobody there, or no answer in time', async () => {
  expect(await ask(`http://127.0.0.1:${await closedPort()}`)).toMatchObject({
    answer: 'failed',
    code: 'ECONNREFUSED',
  })
  const silent = await startHttp(() => {})
  expect(await ask(silent.url, 100)).toMatchObject({ answer: 'failed', code: 'ETIMEDOUT' })
  await silent.close()
})
