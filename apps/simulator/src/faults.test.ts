import net from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { errorText, type Running, type Sample, samples, startSimulator } from './testing/harness.ts'

let simulator: Running
beforeAll(async () => {
  simulator = await startSimulator()
})
afterAll(() => simulator.close())
beforeEach(() => simulator.control('POST', '/reset', {}))

const fault = (rule: Record<string, unknown>) => simulator.control('POST', '/faults', rule)

interface Exchange {
  received: string
  /** How the connection ended: an error's code, or `end`. */
  ending: string
}

/** Sends a request over a bare socket and gives what came until the connection ended, or until `waitMs`. */
function rawExchange(sample: Sample, waitMs = 2000, sendBody = true): Promise<Exchange> {
  const body = JSON.stringify(sample.body)
  const lines = Object.entries({ 'content-type': 'application/json', ...sample.headers })
  const head = `POST ${sample.path} HTTP/1.1\r\nhost: simulator\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
  return new Promise((resolve) => {
    const socket = net.connect(Number(new URL(simulator.url).port), '127.0.0.1')
    let received = ''
    const finish = (ending: string) => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ received, ending })
    }
    const timer = setTimeout(() => finish('timeout'), waitMs)
    socket.on('data', (chunk) => {
      received += chunk
    })
    socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message))
    socket.on('end', () => finish('end'))
    socket.write(sendBody ? head + body : head)
  })
}

async function lastRecord() {
  const { items } = await simulator.control('GET', '/requests?limit=1000')
  return items.at(-1)
}

const accountText = 'API is not available for given customer.Please contact support for more info'
const versionText =
  "The phone number you're using is associated with different Version of our WA API. Please use the appropriate endpoint."
const numberText = 'Phone number is not present or does not belong to the account.'
const balanceText = 'Please check your balance, You have a low balance!'

describe('every documented error can be had by name', () => {
  const documented: [string, Sample, number, unknown][] = [
    ['RBC001', samples.kaleyraReaction, 401, errorText.incorrectSid],
    [
      'WA401',
      samples.kaleyraReaction,
      401,
      { code: 'WA401', message: numberText, data: {}, error: { phone_number: numberText } },
    ],
    ['WA400', samples.kaleyraReaction, 400, errorText.payload],
    [
      'WA500',
      samples.kaleyraReaction,
      500,
      {
        code: 'WA500',
        message: 'Please try again later',
        data: {},
        error: { error: 'Internal server error' },
      },
    ],
    [
      'E110',
      samples.kaleyraReaction,
      400,
      { code: 'E110', message: balanceText, data: {}, error: { balance: balanceText } },
    ],
    [
      'WA-401:account',
      samples.kaleyraReaction,
      401,
      { code: 'WA-401', message: accountText, data: {}, error: { account: accountText } },
    ],
    [
      'WA-401:phone_number',
      samples.kaleyraReaction,
      401,
      { code: 'WA-401', message: versionText, data: {}, error: { phone_number: versionText } },
    ],
    ['401', samples.gupshupReaction, 401, { status: 'error', message: 'Authentication Failed' }],
    [
      'callback-billing',
      samples.gupshupReaction,
      400,
      { message: 'Callback Billing must be enabled for this API', status: 'error' },
    ],
    ['invalid-app', samples.gupshupReaction, 400, { message: 'Invalid App Details', status: 'error' }],
    ['429', samples.gupshupReaction, 429, { status: 'error', message: 'Too Many Requests' }],
    ['500', samples.gupshupReaction, 500, { status: 'error', message: 'Internal Server Error' }],
    ['failure', samples.zixflowReaction, 400, { success: false, message: expect.any(String) }],
    ['failure', samples.campaignButtons, 400, { status: false, message: expect.any(String) }],
  ]
  it.each(documented)('%s', async (name, sample, status, body) => {
    await fault({ effect: { kind: 'error', name } })
    const response = await simulator.send(sample)
    expect([response.status, await response.json()]).toEqual([status, body])
    expect(await lastRecord()).toMatchObject({ accepted: false, requestId: null, fault: 'fault-1' })
  })

  it('with a text and status of one’s own where the document has none', async () => {
    await fault({ effect: { kind: 'error', name: 'failure', message: 'Phone disconnected', status: 422 } })
    const response = await simulator.send(samples.zixflowReaction)
    expect([response.status, await response.json()]).toEqual([
      422,
      { success: false, message: 'Phone disconnected' },
    ])
  })

  it('and an error that a provider does not have leaves it alone', async () => {
    await fault({ effect: { kind: 'error', name: 'WA500' } })
    expect((await simulator.send(samples.gupshupReaction)).status).toBe(200)
    expect((await simulator.send(samples.kaleyraReaction)).status).toBe(500)
  })
})

describe('Retry-After', () => {
  it('comes in seconds', async () => {
    await fault({ effect: { kind: 'error', name: '429', retryAfter: 7 } })
    const response = await simulator.send(samples.gupshupReaction)
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '7'])
  })

  it('comes as a date', async () => {
    await fault({ effect: { kind: 'error', name: '429', retryAfter: { seconds: 30, as: 'date' } } })
    const before = Date.now()
    const value = (await simulator.send(samples.kaleyraReaction)).headers.get('retry-after')!
    expect(value).toMatch(/GMT$/)
    expect(Date.parse(value)).toBeGreaterThanOrEqual(before + 29_000)
    expect(Date.parse(value)).toBeLessThanOrEqual(Date.now() + 31_000)
  })
})

it('an answer is sent word for word', async () => {
  const body = '<oops/>'
  await fault({
    effect: { kind: 'answer', status: 503, body, headers: { 'Content-Type': 'text/xml', 'X-Trace': '1' } },
  })
  const response = await simulator.send(samples.zixflowReaction)
  expect([response.status, await response.text()]).toEqual([503, body])
  expect(response.headers.get('content-type')).toBe('text/xml')
  expect(response.headers.get('x-trace')).toBe('1')
})

describe('whom a rule hits', () => {
  const other: Sample = {
    ...samples.gupshupReaction,
    body: { ...samples.gupshupReaction.body, to: '15550001111' },
  }
  it.each([
    ['provider', { provider: 'gupshup' }, [500, 500, 200]],
    ['account', { account: 'phone-1' }, [200, 200, 500]],
    ['recipient', { recipient: '15550001111' }, [200, 500, 200]],
    ['start of the recipient', { recipientPrefix: '91' }, [500, 200, 500]],
    ['type', { type: 'interactive' }, [200, 200, 500]],
  ])('by %s', async (_name, selector, statuses) => {
    await fault({ ...selector, effect: { kind: 'answer', status: 500 } })
    const third = 'type' in selector ? samples.zixflowButtons : samples.zixflowReaction
    const answers = []
    for (const sample of [samples.gupshupReaction, other, third]) {
      answers.push((await simulator.send(sample)).status)
    }
    expect(answers).toEqual(statuses)
  })

  it('after some, and so many times', async () => {
    await fault({ after: 1, times: 2, effect: { kind: 'answer', status: 500 } })
    const statuses = []
    for (let count = 0; count < 5; count++) {
      statuses.push((await simulator.send(samples.gupshupReaction)).status)
    }
    expect(statuses).toEqual([200, 500, 500, 200, 200])
    expect((await simulator.control('GET', '/faults')).faults[0]).toMatchObject({ matched: 5, applied: 2 })
  })

  it('by chance, the same for the same seed', async () => {
    const run = async (seed: number) => {
      await simulator.control('POST', '/reset', { seed })
      await fault({ probability: 0.5, effect: { kind: 'answer', status: 500 } })
      const statuses = []
      for (let count = 0; count < 40; count++) {
        statuses.push((await simulator.send(samples.gupshupReaction)).status)
      }
      return statuses
    }
    const first = await run(42)
    expect(await run(42)).toEqual(first)
    expect(await run(43)).not.toEqual(first)
    expect(new Set(first)).toEqual(new Set([200, 500]))
  })

  it('in order: the first rule with an effect has the say, one that only slows does not', async () => {
    await fault({ latency: { fixedMs: 60 } })
    await fault({ times: 1, effect: { kind: 'answer', status: 500 } })
    await fault({ effect: { kind: 'answer', status: 503 } })
    const started = performance.now()
    expect((await simulator.send(samples.gupshupReaction)).status).toBe(500)
    expect(performance.now() - started).toBeGreaterThan(55)
    expect((await simulator.send(samples.gupshupReaction)).status).toBe(503)
  })
})

describe('broken connections', () => {
  it('a lost response: accepted and recorded, then cut without a word', async () => {
    await fault({ effect: { kind: 'lost-response' } })
    expect((await rawExchange(samples.kaleyraReaction)).received).toBe('')
    expect(await lastRecord()).toMatchObject({
      accepted: true,
      requestId: expect.stringMatching(/^A/),
      reference: 'customer1',
      recipient: '919876543210',
      answer: { status: 0, code: 'lost-response' },
    })
  })

  it.each([
    ['Kaleyra', samples.kaleyraReaction, { account: '919000000000' }],
    ['Gupshup', samples.gupshupReaction, { provider: 'gupshup' }],
  ])('reset before the body is read, %s', async (_name, sample, selector) => {
    await fault({ ...selector, effect: { kind: 'reset-before-body' } })
    // The body is never sent, so only one who does not wait for it can reset.
    expect(await rawExchange(sample, 2000, false)).toEqual({ received: '', ending: 'ECONNRESET' })
    expect(await lastRecord()).toMatchObject({ accepted: false, rawBody: null })
  })

  it('reset before the body, by a recipient that only the body tells', async () => {
    await fault({ recipient: '919876543210', effect: { kind: 'reset-before-body' } })
    expect(await rawExchange(samples.zixflowReaction)).toEqual({ received: '', ending: 'ECONNRESET' })
    expect(await lastRecord()).toMatchObject({ accepted: false, recipient: '919876543210' })
  })

  it('reset before the body waits for its turn behind an earlier rule', async () => {
    await fault({ recipient: '919876543210', times: 1, effect: { kind: 'answer', status: 503 } })
    await fault({ effect: { kind: 'reset-before-body' } })
    expect((await rawExchange(samples.gupshupReaction)).received).toMatch(/^HTTP\/1.1 503/)
    expect((await rawExchange(samples.gupshupReaction)).ending).toBe('ECONNRESET')
  })

  it('reset after the body is read: not accepted', async () => {
    await fault({ effect: { kind: 'reset-after-body' } })
    expect(await rawExchange(samples.gupshupReaction)).toEqual({ received: '', ending: 'ECONNRESET' })
    expect(await lastRecord()).toMatchObject({
      accepted: false,
      requestId: null,
      body: { to: '919876543210' },
    })
  })

  it('hang: accepted, never answered', async () => {
    await fault({ effect: { kind: 'hang' } })
    expect(await rawExchange(samples.gupshupReaction, 300)).toEqual({ received: '', ending: 'timeout' })
    expect(await lastRecord()).toMatchObject({ accepted: true, answer: { status: 0, code: 'hang' } })
  })

  it('hang: not accepted where that is wanted', async () => {
    await fault({ effect: { kind: 'hang', accepted: false } })
    await rawExchange(samples.gupshupReaction, 100)
    expect(await lastRecord()).toMatchObject({ accepted: false })
  })
})

describe('slowness', () => {
  it.each([
    ['fixed', { fixedMs: 80 }],
    ['uniform', { uniform: { minMs: 80, maxMs: 90 } }],
  ])('%s latency holds the answer back', async (_name, latency) => {
    await fault({ latency })
    const started = performance.now()
    expect((await simulator.send(samples.gupshupReaction)).status).toBe(200)
    expect(performance.now() - started).toBeGreaterThan(75)
    expect(await lastRecord()).toMatchObject({ accepted: true, fault: 'fault-1' })
  })

  it('a slow body comes in many pieces, and whole', async () => {
    await fault({ slowBody: { chunkBytes: 10, intervalMs: 5 } })
    const response = await simulator.send(samples.kaleyraReaction)
    const pieces: Uint8Array[] = []
    for await (const piece of response.body!) pieces.push(piece)
    expect(pieces.length).toBeGreaterThan(3)
    expect(JSON.parse(Buffer.concat(pieces).toString())).toMatchObject({ code: 'WA202' })
  })
})

describe('garbage', () => {
  const garbage = (name: string, more = {}) => fault({ effect: { kind: 'garbage', garbage: name, ...more } })
  const everySystem = [
    samples.zixflowReaction,
    samples.kaleyraReaction,
    samples.gupshupReaction,
    samples.campaignButtons,
  ]

  it.each(['html', 'empty', 'truncated-json', 'missing-commas'])('%s is no JSON', async (name) => {
    await garbage(name)
    for (const sample of everySystem) {
      const response = await simulator.send(sample)
      expect(response.status).toBeLessThan(300)
      const text = await response.text()
      expect(() => JSON.parse(text)).toThrow()
      expect(await lastRecord()).toMatchObject({ accepted: true, answer: { code: name } })
    }
  })

  it('Kaleyra’s sample is printed with its commas missing', async () => {
    await garbage('missing-commas')
    expect(await (await simulator.send(samples.kaleyraReaction)).text()).toMatch(
      /^\{\n"code":"WA202"\n"message":"Request Accepted",\n"data":\{\n"message_id":"A\w{19}"\n\}\n"error":\{\}\n\}$/,
    )
  })

  it('an array for data', async () => {
    await garbage('array-data')
    const answer = (await (await simulator.send(samples.kaleyraReaction)).json()) as { data: unknown }
    expect(answer.data).toEqual([])
  })

  it('numbers beyond 2^53', async () => {
    await garbage('huge-numbers')
    for (const sample of everySystem) {
      const text = await (await simulator.send(sample)).text()
      expect(Number.isSafeInteger(Number(/\d{20,}/.exec(text)![0]))).toBe(false)
      expect(() => JSON.parse(text)).not.toThrow()
    }
  })

  it('5 MB of text', async () => {
    await garbage('large-text')
    const text = await (await simulator.send(samples.gupshupReaction)).text()
    expect(text.length).toBe(5 * 1024 * 1024)
    expect(JSON.stringify(await lastRecord()).length).toBeLessThan(30_000)
  })

  it('the wrong content type', async () => {
    await garbage('wrong-content-type')
    const response = await simulator.send(samples.gupshupReaction)
    expect(response.headers.get('content-type')).toContain('text/html')
    expect(await response.json()).toHaveProperty('messages')
  })

  it('a body that is cut off', async () => {
    await garbage('cut-body')
    const { received } = await rawExchange(samples.kaleyraReaction)
    const promised = Number(/content-length: (\d+)/i.exec(received)![1])
    const body = received.slice(received.indexOf('\r\n\r\n') + 4)
    expect(body.length).toBeGreaterThan(0)
    expect(body.length).toBeLessThan(promised)
  })

  it('with an error status is a refusal', async () => {
    await garbage('html', { status: 502 })
    expect((await simulator.send(samples.gupshupReaction)).status).toBe(502)
    expect(await lastRecord()).toMatchObject({ accepted: false })
  })
})

describe('rules', () => {
  it('hit only requests that are otherwise in order', async () => {
    await fault({ times: 1, effect: { kind: 'error', name: 'WA500' } })
    const broken = await simulator.send(samples.kaleyraReaction, { surprise: 1 })
    expect(await broken.json()).toEqual(errorText.payload)
    expect((await simulator.send(samples.kaleyraReaction)).status).toBe(500)
  })

  it('are replaced, appended, listed and removed', async () => {
    const effect = { kind: 'hang' }
    await simulator.control('PUT', '/faults', { faults: [{ id: 'one', effect }, { effect }] })
    expect(await fault({ id: 'three', effect })).toMatchObject({ id: 'three' })
    expect(await fault({ id: 'three', effect })).toMatchObject({ statusCode: 409 })
    await simulator.control('DELETE', '/faults/one')
    const { faults } = await simulator.control('GET', '/faults')
    expect(faults.map((rule: { id: string }) => rule.id)).toEqual(['fault-2', 'three'])
    await simulator.control('DELETE', '/faults')
    expect(await simulator.control('GET', '/faults')).toEqual({ faults: [] })
  })

  it.each([
    ['that do nothing', {}],
    ['with an unknown field', { effect: { kind: 'hang' }, surprise: 1 }],
    ['with an error nobody has', { effect: { kind: 'error', name: 'WA999' } }],
    ['with an error of another provider', { provider: 'gupshup', effect: { kind: 'error', name: 'WA500' } }],
    ['with half a distribution', { latency: { lognormal: { p50Ms: 10 } } }],
  ])('%s are refused', async (_name, rule) => {
    expect(await fault(rule)).toMatchObject({ statusCode: 400, errors: [{ message: expect.any(String) }] })
    expect(await simulator.control('GET', '/faults')).toEqual({ faults: [] })
  })
})
