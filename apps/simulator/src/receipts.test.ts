import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Running, samples, startSimulator } from './testing/harness.ts'
import { type Receiver, startReceiver } from './testing/receiver.ts'

let simulator: Running
let receiver: Receiver
beforeAll(async () => {
  simulator = await startSimulator()
  receiver = await startReceiver()
})
afterAll(async () => {
  await simulator.close()
  await receiver.close()
})
beforeEach(async () => {
  await simulator.control('POST', '/reset', {})
  receiver.received.length = 0
  receiver.answer = () => 200
  // One at a time, so that they arrive in the order in which they are sent.
  await simulator.control('PUT', '/receipt-sender', { inFlight: 1, retryDelaysMs: [20, 20] })
})

const rule = (statuses: unknown[], more: object = {}) =>
  simulator.control('POST', '/receipt-rules', { statuses, ...more })

/** An account of Kaleyra's or Gupshup's whose receipts come here. */
async function register(provider: 'kaleyra' | 'gupshup', settings: object = {}) {
  const name = provider === 'kaleyra' ? '919000000000' : 'bf9ee64c-3d4d-4ac4-8668-732e577007c4'
  const receiptUrl = `${receiver.url}/v1/receipts/${provider}`
  return simulator.control('PUT', `/accounts/${provider}/${name}`, { receiptUrl, ...settings })
}

const sendZixflow = (changes: object = {}) =>
  simulator.send(samples.zixflowReaction, {
    post_back_url: `${receiver.url}/v1/receipts/zixflow?token=right`,
    ...changes,
  })

/** When nothing is pending any more. */
async function settled() {
  for (;;) {
    const summary = await simulator.control('GET', '/receipts/summary')
    if (summary.pending === 0) return summary
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const bodies = () => receiver.received.map(({ body }) => JSON.parse(body))
const statuses = () => bodies().map(({ status }) => status)

it('nothing is told unless a rule says so', async () => {
  await sendZixflow()
  expect(await settled()).toMatchObject({ receipts: 0 })
  expect(receiver.received).toEqual([])
})

describe('shapes', () => {
  it('Zixflow posts to the address that came with the message, with what came with it', async () => {
    await rule(['sent', { status: 'failed', code: 131009, message: 'Parameter value is not valid' }])
    const answer = (await (await sendZixflow()).json()) as { request_id: string }
    await settled()
    expect(receiver.received.map(({ path }) => path)).toEqual([
      '/v1/receipts/zixflow?token=right',
      '/v1/receipts/zixflow?token=right',
    ])
    expect(receiver.received[0]!.headers['content-type']).toBe('application/json')
    expect(receiver.received[0]!.body).toMatch(/"message_id":\d{18},/)
    const common = {
      workspace_id: expect.any(String),
      type: 'delivery_status',
      message_id: expect.any(Number),
      request_id: answer.request_id,
      channel: 'whatsapp',
      recipient: '919876543210',
      status_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/),
      post_back_data: 'msg_1',
    }
    expect(bodies()).toEqual([
      { ...common, status: 'sent', remark: '' },
      { ...common, status: 'failed', remark: '131009: Parameter value is not valid' },
    ])
  })

  it('Kaleyra posts to the address of the account, with ref, its own id and the wamid', async () => {
    await register('kaleyra', { receiptToken: 'a b', receiptHeaders: { 'x-api': 'k' } })
    await rule([{ status: 'failed', code: 131009 }])
    const answer = (await (await simulator.send(samples.kaleyraReaction)).json()) as {
      data: { message_id: string }
    }
    await settled()
    expect(receiver.received).toMatchObject([
      { path: '/v1/receipts/kaleyra?token=a+b', headers: { 'x-api': 'k' } },
    ])
    const wamid = expect.stringMatching(/^wamid\./)
    expect(bodies()).toMatchObject([
      {
        meta_object: {
          value: {
            statuses: [
              {
                id: answer.data.message_id,
                status: 'failed',
                timestamp: expect.stringMatching(/^\d{10}$/),
                recipient_id: '919876543210',
                errors: [{ code: 131009 }],
              },
            ],
          },
          field: 'messages',
        },
        extra_info: { message_id: wamid, ref: 'customer1' },
        status: 'failed',
        message_id: wamid,
      },
    ])
  })

  it('Gupshup posts WhatsApp’s envelope with its own id, and a number for the time of enqueued only', async () => {
    await register('gupshup')
    await rule(['enqueued', 'sent'])
    const answer = (await (await simulator.send(samples.gupshupReaction)).json()) as {
      messages: { id: string }[]
    }
    await settled()
    const told = bodies().flatMap(({ entry }) => entry[0].changes[0].value.statuses)
    const id = expect.stringMatching(/^wamid\./)
    const common = { gs_id: answer.messages[0]!.id, id, recipient_id: '919876543210' }
    expect(told).toEqual([
      { ...common, status: 'enqueued', timestamp: expect.any(Number) },
      { ...common, status: 'sent', timestamp: expect.stringMatching(/^\d{10}$/) },
    ])
    expect(told[0].id).toBe(told[1].id)
  })

  it('several statuses share a body where the provider does that', async () => {
    await register('gupshup')
    await register('kaleyra')
    await rule(['sent', 'delivered'], { together: 10, burstMs: 200 })
    for (let index = 0; index < 3; index++) await simulator.send(samples.gupshupReaction)
    await settled()
    const inOne = bodies().map(({ entry }) => entry[0].changes[0].value.statuses.length)
    expect(inOne.reduce((sum, one) => sum + one)).toBe(6)
    expect(inOne.length).toBeLessThan(6)
    receiver.received.length = 0
    await simulator.send(samples.kaleyraReaction)
    await settled()
    expect(bodies().map(({ meta_object }) => meta_object.value.statuses.length)).toEqual([2])
  })

  it('each of several recipients is told about', async () => {
    await register('kaleyra')
    await rule(['sent'], { early: true })
    const { messaging_object, extra_info } = samples.kaleyraReaction.body
    const to = '919876543210,919876543211'
    await simulator.send(samples.kaleyraReaction, {
      messaging_object: { ...messaging_object, to },
      extra_info,
    })
    await settled()
    const told = bodies().map(({ meta_object }) => meta_object.value.statuses[0].recipient_id)
    expect(told.toSorted()).toEqual(to.split(','))
  })
})

describe('when and how often', () => {
  it('each status after its delay, in the order told', async () => {
    await rule(['sent', 'delivered', { status: 'read', delay: { fixedMs: 60 } }], {
      delay: { fixedMs: 20 },
    })
    const before = performance.now()
    await sendZixflow()
    await settled()
    expect(performance.now() - before).toBeGreaterThanOrEqual(100)
    expect(statuses()).toEqual(['sent', 'delivered', 'read'])
  })

  it('reversed, or shuffled in the same way for the same seed', async () => {
    const three = ['sent', 'delivered', 'read']
    const run = async (order: string) => {
      await simulator.control('POST', '/reset', { seed: 5 })
      receiver.received.length = 0
      await rule(three, { order, delay: { fixedMs: 15 } })
      for (let index = 0; index < 4; index++) {
        await sendZixflow()
        await settled()
      }
      return statuses()
    }
    expect((await run('reversed')).slice(0, 3)).toEqual(three.toReversed())
    const shuffled = await run('shuffled')
    expect(shuffled).not.toEqual([...three, ...three, ...three, ...three])
    expect(shuffled.toSorted()).toEqual([...three, ...three, ...three, ...three].toSorted())
    expect(await run('shuffled')).toEqual(shuffled)
  })

  it('repeated', async () => {
    await rule(['sent'], { repeat: { times: 3 } })
    await sendZixflow()
    expect(await settled()).toMatchObject({ receipts: 4, acknowledged: 4 })
    expect(statuses()).toEqual(['sent', 'sent', 'sent', 'sent'])
  })

  it('before the send is answered', async () => {
    await rule(['sent', 'delivered'], { early: true, delay: { fixedMs: 30 } })
    let answered = false
    const early: boolean[] = []
    receiver.answer = () => {
      early.push(!answered)
      return 200
    }
    await sendZixflow()
    answered = true
    await settled()
    expect(early).toEqual([true, false])
  })

  it('and although the answer is lost', async () => {
    await rule(['sent'], { early: true })
    await simulator.control('POST', '/faults', { effect: { kind: 'lost-response' } })
    await expect(sendZixflow()).rejects.toThrow()
    await settled()
    expect(bodies()).toMatchObject([{ status: 'sent', post_back_data: 'msg_1' }])
  })

  it('not for a message that was refused', async () => {
    await rule(['sent'])
    await simulator.control('POST', '/faults', { effect: { kind: 'error', name: '500' } })
    await sendZixflow()
    expect(await settled()).toMatchObject({ receipts: 0 })
  })

  it('never, for some', async () => {
    await rule([], { recipientPrefix: '9198' })
    await rule(['sent'])
    await sendZixflow()
    await sendZixflow({ recipient: '919776543210' })
    await settled()
    expect(bodies()).toMatchObject([{ recipient: '919776543210' }])
  })

  it('for a share of the messages', async () => {
    await rule(['sent', { status: 'read', probability: 0.5 }])
    for (let index = 0; index < 40; index++) await sendZixflow()
    const { byStatus } = await settled()
    expect(byStatus.sent.acknowledged).toBe(40)
    expect(byStatus.read.acknowledged).toBeGreaterThan(5)
    expect(byStatus.read.acknowledged).toBeLessThan(35)
  })

  it('in bursts', async () => {
    await simulator.control('PUT', '/receipt-sender', { inFlight: 10 })
    await rule(['sent'], { burstMs: 400 })
    const times: number[] = []
    receiver.answer = () => {
      times.push(performance.now())
      return 200
    }
    for (let index = 0; index < 6; index++) {
      await sendZixflow()
      await new Promise((resolve) => setTimeout(resolve, 40))
    }
    await settled()
    const three = times.slice(2).map((time, index) => time - times[index]!)
    // Three that were sent 80 ms apart arrive together.
    expect(Math.min(...three)).toBeLessThan(60)
  })
})

describe('what goes wrong', () => {
  it('any word is a status', async () => {
    await rule(['teleported'])
    await sendZixflow()
    await settled()
    expect(statuses()).toEqual(['teleported'])
  })

  it('a wrong token is sent once and counts apart', async () => {
    await rule(['sent', { status: 'failed', wrongToken: true }])
    receiver.answer = ({ path }) => (path.endsWith('token=right') ? 200 : 401)
    await sendZixflow()
    expect(await settled()).toMatchObject({
      byStatus: { sent: { receipts: 1, acknowledged: 1 } },
      wrongToken: { receipts: 1, acknowledged: 0, 'given-up': 1 },
      answers: { 200: 1, 401: 1 },
    })
    expect(receiver.received.map(({ path }) => path)).toContain('/v1/receipts/zixflow?token=rightx')
  })

  it('and so is one in a header', async () => {
    await register('gupshup', { receiptHeaders: { 'X-Receipt-Token': 'right' } })
    await rule(['sent', { status: 'failed', wrongToken: true }])
    await simulator.send(samples.gupshupReaction)
    await settled()
    expect(receiver.received.map(({ headers }) => headers['x-receipt-token'])).toEqual(['right', 'rightx'])
  })

  it('a receiver that says no gets it again, and no more often than said', async () => {
    await rule(['sent'])
    receiver.answer = () => (receiver.received.length < 2 ? 503 : 204)
    await sendZixflow()
    expect(await settled()).toMatchObject({ acknowledged: 1, answers: { 503: 1, 204: 1 } })
    receiver.answer = () => 500
    await sendZixflow()
    expect(await settled()).toMatchObject({ 'given-up': 1, answers: { 500: 3 } })
    const { items } = await simulator.control('GET', '/receipts?state=given-up')
    expect(items).toMatchObject([{ attempts: 3, answer: 500, status: 'sent' }])
  })

  it('a receiver that is away gets it when it is back', async () => {
    await simulator.control('PUT', '/receipt-sender', { retryDelaysMs: [20, 2000] })
    const away = await startReceiver()
    await away.close()
    await rule(['sent'])
    await sendZixflow({ post_back_url: `${away.url}/back` })
    const { answers } = await simulator.control('GET', '/receipts/summary')
    expect(Object.keys(answers)).not.toContain('200')
    await new Promise((resolve) => setTimeout(resolve, 200))
    const back = await startReceiver(Number(new URL(away.url).port))
    expect(await settled()).toMatchObject({ acknowledged: 1, answers: { ECONNREFUSED: 2, 200: 1 } })
    expect(back.received).toMatchObject([{ path: '/back' }])
    await back.close()
  })

  it('a receiver that does not answer is not waited for', async () => {
    await simulator.control('PUT', '/receipt-sender', { timeoutMs: 50, retryDelaysMs: [] })
    receiver.answer = () => undefined
    await rule(['sent'])
    await sendZixflow()
    expect(await settled()).toMatchObject({ 'given-up': 1, answers: { ETIMEDOUT: 1 } })
  })

  it('nobody wants them', async () => {
    await rule(['sent'])
    await sendZixflow({ post_back_url: undefined })
    await simulator.send(samples.kaleyraReaction)
    expect(await settled()).toMatchObject({ receipts: 2, silent: 2 })
  })
})

describe('asked for', () => {
  it('each with what it said and how it was answered', async () => {
    await rule(['sent', 'read'])
    await sendZixflow()
    await sendZixflow({ recipient: '919876543219', post_back_data: 'msg_2' })
    await settled()
    const { items, next } = await simulator.control('GET', '/receipts?limit=3')
    expect(items).toHaveLength(3)
    expect(items[0]).toEqual({
      seq: expect.any(Number),
      provider: 'zixflow',
      account: 'phone-1',
      requestId: expect.any(String),
      recipient: '919876543210',
      reference: 'msg_1',
      wamid: expect.stringMatching(/^wamid\./),
      status: 'sent',
      code: null,
      message: null,
      atMs: expect.any(Number),
      url: `${receiver.url}/v1/receipts/zixflow?token=right`,
      wrongToken: false,
      state: 'acknowledged',
      attempts: 1,
      answer: 200,
      answeredAtMs: expect.any(Number),
    })
    expect((await simulator.control('GET', `/receipts?after=${next}`)).items).toHaveLength(1)
    expect((await simulator.control('GET', '/receipts?reference=msg_2&status=read')).items).toHaveLength(1)
    const response = await fetch(`${simulator.url}/simulator/receipts?format=ndjson`)
    expect((await response.text()).trim().split('\n')).toHaveLength(4)
  })

  it('clearing forgets what is pending; rules stay', async () => {
    await rule(['sent'], { delay: { fixedMs: 100 } })
    await sendZixflow()
    expect(await simulator.control('GET', '/receipts/summary')).toMatchObject({ pending: 1 })
    await simulator.control('DELETE', '/receipts')
    expect(await settled()).toMatchObject({ receipts: 0, pending: 0 })
    expect((await simulator.control('GET', '/receipt-rules')).rules).toHaveLength(1)
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(receiver.received).toEqual([])
  })

  it('rules are replaced, listed with how often they applied, and taken away', async () => {
    await simulator.control('PUT', '/receipt-rules', { rules: [{ id: 'one', statuses: ['sent'], times: 1 }] })
    await sendZixflow()
    await sendZixflow()
    expect((await simulator.control('GET', '/receipt-rules')).rules).toMatchObject([
      { id: 'one', matched: 2, applied: 1 },
    ])
    expect(await simulator.control('POST', '/receipt-rules', { id: 'one', statuses: [] })).toMatchObject({
      statusCode: 409,
    })
    expect(await simulator.control('POST', '/receipt-rules', { statuses: [{ oops: 1 }] })).toMatchObject({
      statusCode: 400,
    })
    await simulator.control('DELETE', '/receipt-rules/one')
    expect((await simulator.control('GET', '/receipt-rules')).rules).toEqual([])
  })

  it('from the config file on', async () => {
    const own = await startSimulator({
      file: { receipts: [{ statuses: ['sent'] }], receiptSender: { retryDelaysMs: [] } },
    })
    await own.send(samples.zixflowReaction, { post_back_url: `${receiver.url}/from-file` })
    await expect.poll(() => receiver.received.map(({ path }) => path)).toEqual(['/from-file'])
    await own.close()
  })
})

describe('Zixflow’s delivery report', () => {
  const ask = (requestId: string, headers: Record<string, string> = samples.zixflowReaction.headers) =>
    fetch(`${simulator.url}/api/data/messages/v1/delivery-report?request_id=${requestId}`, { headers })
  const requestIdOf = async (response: Response) =>
    ((await response.json()) as { request_id: string }).request_id

  it('tells the newest status, also where no receipt was sent', async () => {
    await rule([
      'sent',
      { status: 'delivered', silent: true },
      { status: 'read', delay: { fixedMs: 60_000 } },
    ])
    const requestId = await requestIdOf(await sendZixflow())
    const response = await ask(requestId)
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({
      success: true,
      message: 'Delivery report retrieved successfully',
      data: {
        channel: 'whatsapp',
        message_id: expect.stringMatching(/^wamid\./),
        recipient: '919876543210',
        request_id: requestId,
        status: 'delivered',
        statusAt: expect.stringMatching(/Z$/),
        remark: '',
        workspace_id: expect.any(String),
      },
    })
    await expect.poll(statuses).toEqual(['sent'])
  })

  it('knows nothing of other requests, and of those that heard nothing', async () => {
    const requestId = await requestIdOf(await sendZixflow())
    for (const one of ['other', requestId]) {
      const response = await ask(one)
      expect(response.status).toBe(404)
      expect(await response.json()).toMatchObject({ success: false })
    }
  })

  it('asks for credentials, and keeps to the account’s limit', async () => {
    expect((await ask('any', {})).status).toBe(401)
    await simulator.control('PUT', '/accounts/zixflow/phone-1', {
      credentials: { apiKey: 'zixflow-key', workspaceId: 'workspace-1' },
      rateLimit: { perSecond: 2 },
    })
    await rule(['sent'])
    const requestId = await requestIdOf(await sendZixflow())
    const all = await Promise.all([ask(requestId), ask(requestId), ask(requestId)])
    expect(all.map(({ status }) => status).toSorted()).toEqual([200, 429, 429])
    expect((await ask(requestId, { 'x-api-key': 'wrong', 'x-workspace-id': 'w' })).status).toBe(401)
    const { items } = await simulator.control('GET', '/requests?code=report:200')
    expect(items).toMatchObject([{ account: 'phone-1', accepted: false, recipient: '919876543210' }])
  })
})

it('thousands are told with one timer and few connections, each once', async () => {
  await simulator.control('PUT', '/receipt-sender', { inFlight: 50 })
  await rule(['sent', 'delivered', 'read'], { delay: { uniform: { minMs: 0, maxMs: 300 } } })
  await Promise.all(Array.from({ length: 500 }, () => sendZixflow().then((response) => response.text())))
  expect(await settled()).toMatchObject({ receipts: 1500, acknowledged: 1500, answers: { 200: 1500 } })
  expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1500)
}, 60_000)
