/**
 * The five provider systems, each from the API to the provider: what arrives there is what its document prints.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'
import { allAccounts, type Stack, startStack } from './stack.ts'

const onEnd = endings()
let stack: Stack
beforeAll(async () => {
  const redis = await useRedis(onEnd)
  stack = await startStack({
    onEnd,
    redisUrl: redis.url,
    accounts: [
      ...allAccounts(),
      {
        ...allAccounts()[2],
        id: 'zixflow-receipts',
        receiptUrl: 'https://us.example/v1/receipts/zixflow-receipts',
      },
    ],
    env: { LOG_LEVEL: 'warn' },
  })
  await stack.startApi()
  await stack.startWorker()
})

/** Headers that HTTP itself brings. */
const transport = [
  'host',
  'connection',
  'content-length',
  'user-agent',
  'accept',
  'accept-encoding',
  'transfer-encoding',
]

async function sendAndSee(account: string, to: string, message: Record<string, unknown>) {
  const id = await stack.send({ account, to: `+${to}`, message, reference: `order-${to}` })
  const view = await stack.until(id, ['submitted'])
  const [request, ...more] = await stack.requests({ recipient: to })
  expect(more).toEqual([])
  const headers = Object.fromEntries(
    Object.entries(request!.headers ?? {}).filter(([name]) => !transport.includes(name)),
  )
  const saw = { method: request!.method, path: request!.path, headers, body: request!.body }
  return { id, view, saw, request: request! }
}

const reaction = { type: 'reaction', reaction: { message_id: 'wamid.HBgLMxxx', emoji: '\u{1F600}' } }
const buttons = [
  { type: 'reply', reply: { id: 'yes', title: 'Yes' } },
  { type: 'reply', reply: { id: 'no', title: 'No' } },
]
const interactive = {
  type: 'button',
  header: { type: 'text', text: 'Your appointment' },
  body: { text: 'Does *Tuesday* suit you?' },
  footer: { text: 'Reply any time' },
  action: { buttons },
}

describe('Kaleyra v2', () => {
  test('reaction', async () => {
    const { id, view, saw, request } = await sendAndSee('kaleyra-in', '919876543210', reaction)
    expect(saw).toEqual({
      method: 'POST',
      path: '/v2/HXAP16XXXXXX97IN/whatsapp/919000000000/messages',
      headers: { 'content-type': 'application/json', 'api-key': 'Akey3', 'cache-control': 'no-cache' },
      body: {
        messaging_object: {
          messaging_product: 'whatsapp',
          recipient_type: 'individual',
          to: '+919876543210',
          type: 'reaction',
          reaction: { message_id: 'wamid.HBgLMxxx', emoji: '😀' },
        },
        extra_info: { ref: id },
      },
    })
    expect(view).toMatchObject({
      request_id: request.requestId,
      attempts: [{ outcome: 'accepted', code: 'WA202' }],
    })
  })

  test('reply buttons', async () => {
    const { saw } = await sendAndSee('kaleyra-in', '919876543211', { type: 'interactive', interactive })
    expect(saw.body).toMatchObject({
      messaging_object: { to: '+919876543211', type: 'interactive', interactive },
    })
  })
})

describe('Gupshup Partner v3', () => {
  test('reaction', async () => {
    const { saw, view, request } = await sendAndSee('gupshup-main', '917858760001', reaction)
    expect(saw).toEqual({
      method: 'POST',
      path: '/partner/app/bf9ee64c-3d4d-4ac4-8668-732e577007c4/v3/message',
      headers: { 'content-type': 'application/json', authorization: 'sk_token' },
      body: {
        messaging_product: 'whatsapp',
        recipient_type: 'individual',
        to: '917858760001',
        type: 'reaction',
        reaction: { message_id: 'wamid.HBgLMxxx', emoji: '😀' },
      },
    })
    expect(view.request_id).toBe(request.requestId)
  })

  test('reply buttons', async () => {
    const { saw } = await sendAndSee('gupshup-main', '917858760002', { type: 'interactive', interactive })
    expect(saw.body).toMatchObject({ to: '917858760002', type: 'interactive', interactive })
  })
})

describe('Zixflow ingest: reaction', () => {
  const expected = {
    method: 'POST',
    path: '/api/ingest/whatsapp/v1/message/reaction/send',
    headers: { 'content-type': 'application/json', 'x-api-key': 'zk', 'x-workspace-id': 'zw' },
  }
  const body = { phone_id: 'zp', reaction: { message_id: 'wamid.HBgLMxxx', emoji: '😀' } }

  test('without a receipt address', async () => {
    const { saw, view, request } = await sendAndSee('zixflow-ai', '919876543220', reaction)
    expect(saw).toEqual({ ...expected, body: { recipient: '919876543220', ...body } })
    expect(view.request_id).toBe(request.requestId)
  })

  test('with one, which carries our id', async () => {
    const { id, saw } = await sendAndSee('zixflow-receipts', '919876543221', reaction)
    const callback = { post_back_url: 'https://us.example/v1/receipts/zixflow-receipts', post_back_data: id }
    expect(saw).toEqual({ ...expected, body: { recipient: '919876543221', ...body, ...callback } })
  })
})

describe('Zixflow ingest: reply buttons', () => {
  test('with header, body, footer and action', async () => {
    const { saw } = await sendAndSee('zixflow-ai', '919876543230', { type: 'interactive', interactive })
    expect(saw).toEqual({
      method: 'POST',
      path: '/api/ingest/whatsapp/v1/message/interactive/reply-buttons/send',
      headers: { 'content-type': 'application/json', 'x-api-key': 'zk', 'x-workspace-id': 'zw' },
      body: { recipient: '919876543230', phone_id: 'zp', interactive },
    })
  })
})

describe('Zixflow campaign API', () => {
  test.each([
    ['no header', undefined, undefined],
    ['text', { type: 'text', text: 'Hi' }, { type: 'text', text: 'Hi' }],
    [
      'image',
      { type: 'image', image: { link: 'https://cdn.example/a.png' } },
      { type: 'image', image: 'https://cdn.example/a.png' },
    ],
    [
      'video',
      { type: 'video', video: { link: 'https://cdn.example/a.mp4' } },
      { type: 'video', video: 'https://cdn.example/a.mp4' },
    ],
    [
      'document',
      { type: 'document', document: { link: 'https://cdn.example/a.pdf' } },
      { type: 'document', document: 'https://cdn.example/a.pdf' },
    ],
  ])('reply buttons, header: %s', async (kind, header, wire) => {
    const to = `91987654325${['no header', 'text', 'image', 'video', 'document'].indexOf(kind)}`
    const content = {
      type: 'button',
      ...(header && { header }),
      body: { text: 'Choose' },
      action: { buttons },
    }
    const { saw, view } = await sendAndSee('zixflow-old', to, { type: 'interactive', interactive: content })
    expect(saw).toEqual({
      method: 'POST',
      path: '/api/v1/campaign/whatsapp/message/send',
      headers: { 'content-type': 'application/json', authorization: 'Bearer zt' },
      body: {
        to,
        phoneId: 'zp-old',
        type: 'interactive',
        interactive: { ...content, ...(wire && { header: wire }) },
      },
    })
    expect(view).not.toHaveProperty('request_id')
  })

  test('what it cannot carry is refused at the door, with the field named', async () => {
    const refused = await stack.call('POST', '/v1/messages', {
      account: 'zixflow-old',
      to: '919876543259',
      message: reaction,
    })
    expect(refused).toMatchObject({
      status: 400,
      body: { errors: [{ path: expect.stringMatching(/^message/) }] },
    })
    expect(await stack.requests({ recipient: '919876543259' })).toEqual([])
  })
})

test('a message is found again by its request id and by its reference', async () => {
  const { id, request } = await sendAndSee('kaleyra-in', '919876543299', reaction)
  for (const query of [`request_id=${request.requestId}`, 'reference=order-919876543299']) {
    const answer = await stack.call('GET', `/v1/messages?${query}`)
    expect(answer.body).toMatchObject({
      items: [{ id, reference: 'order-919876543299', to: '919876543299' }],
      next: null,
    })
  }
})

test('the API tells for all workers what was attempted, with what outcome, and how long it took', async () => {
  const { id } = await sendAndSee('kaleyra-in', '919876543298', reaction)
  expect(id).toMatch(/^msg_/)
  const metric = async (pattern: RegExp) => {
    const response = await fetch(`${stack.apiUrl}/metrics`, {
      headers: { authorization: `Bearer ${stack.key}` },
    })
    return Number(pattern.exec(await response.text())?.[1] ?? 0)
  }
  const shown = (pattern: RegExp) => expect.poll(() => metric(pattern), { timeout: 5_000 })
  await shown(
    /^wa_dispatch_attempts_total\{account="kaleyra-in",outcome="accepted"\} (\d+)$/m,
  ).toBeGreaterThan(0)
  await shown(/^wa_dispatch_attempt_duration_seconds_count\{account="kaleyra-in"\} (\d+)$/m).toBeGreaterThan(
    0,
  )
  await shown(
    /^wa_dispatch_queue_wait_seconds_bucket\{account="kaleyra-in",le="\+Inf"\} (\d+)$/m,
  ).toBeGreaterThan(0)
  expect(await metric(/^wa_dispatch_messages\{account="kaleyra-in",state="uncertain"\} (\d+)$/m)).toBe(0)
  const accounts = await stack.call('GET', '/v1/accounts')
  expect(accounts.body.items[0]).toMatchObject({ id: 'kaleyra-in', rate_per_second: expect.any(Number) })
})
