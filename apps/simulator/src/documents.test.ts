import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { interactive, type Running, samples, startSimulator } from './testing/harness.ts'

let simulator: Running
beforeAll(async () => {
  simulator = await startSimulator()
})
afterAll(() => simulator.close())

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe("a document's sample request is answered as the document prints", () => {
  it.each([
    ['reaction', samples.zixflowReaction],
    ['reply buttons', samples.zixflowButtons],
  ])('Zixflow %s', async (_name, sample) => {
    const response = await simulator.send(sample)
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({
      success: true,
      message: 'WhatsApp request queued successfully',
      request_id: expect.stringMatching(uuid),
    })
  })

  it.each([
    ['reaction', samples.kaleyraReaction],
    ['reply buttons', samples.kaleyraButtons],
  ])('Kaleyra %s', async (_name, sample) => {
    const response = await simulator.send(sample)
    expect(response.status).toBe(202)
    expect(await response.json()).toEqual({
      code: 'WA202',
      message: 'Request Accepted',
      data: { message_id: expect.stringMatching(/^A[A-Z0-9]{19}$/) },
      error: {},
    })
  })

  it.each([
    ['reaction', samples.gupshupReaction],
    ['reply buttons', samples.gupshupButtons],
  ])('Gupshup %s', async (_name, sample) => {
    const response = await simulator.send(sample)
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({
      messages: [{ id: expect.stringMatching(uuid) }],
      messaging_product: 'whatsapp',
      contacts: [{ input: '919876543210', wa_id: '919876543210' }],
    })
  })

  it.each([
    ['text', { type: 'text', text: 'Your order' }],
    ['image', { type: 'image', image: 'https://files.example/a.png' }],
    ['video', { type: 'video', video: 'http://files.example/a.mp4' }],
    ['document', { type: 'document', document: 'https://files.example/a.pdf' }],
    ['no', undefined],
  ])('Zixflow campaign with %s header', async (_name, header) => {
    const response = await simulator.send(samples.campaignButtons, {
      interactive: { ...interactive, header },
      source: 'CRM',
      linkWithRecord: true,
      submissionStatus: false,
    })
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ status: true, message: expect.any(String) })
  })
})

it('takes the escape sequence of an emoji as the emoji', async () => {
  const { path, headers, body } = samples.kaleyraReaction
  const escaped = JSON.stringify(body).replace('😀', '\\uD83D\\uDE00')
  const response = await fetch(simulator.url + path, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json; charset=utf-8' },
    body: escaped,
  })
  expect(response.status).toBe(202)
  expect(escaped).toContain('\\uD83D')
})

it.each([
  ['an image by link', { type: 'image', image: { link: 'https://files.example/a.png' } }],
  ['a video by id', { type: 'video', video: { id: '1234' } }],
  [
    'a named document',
    { type: 'document', document: { link: 'https://f.example/a.pdf', filename: 'a.pdf' } },
  ],
])('takes %s as a header where the message object is Meta’s own', async (_name, header) => {
  for (const sample of [samples.gupshupButtons, samples.zixflowButtons]) {
    expect((await simulator.send(sample, { interactive: { ...interactive, header } })).status).toBe(200)
  }
})

it('takes an empty emoji, which removes a reaction, and emoji of several code points', async () => {
  for (const emoji of ['', '❤', '❤️', '👨‍👩‍👧‍👦', '🇮🇳', '👍🏽', '1️⃣']) {
    const response = await simulator.send(samples.gupshupReaction, {
      reaction: { message_id: 'wamid.X', emoji },
    })
    expect([emoji, response.status]).toEqual([emoji, 200])
  }
})

it('gives every accepted message an id of its own', async () => {
  const answers = await Promise.all(Array.from({ length: 50 }, () => simulator.send(samples.kaleyraReaction)))
  const ids = await Promise.all(
    answers.map(async (one) => ((await one.json()) as { data: { message_id: string } }).data.message_id),
  )
  expect(new Set(ids).size).toBe(50)
})

it('reads the documents independently of the adapters', () => {
  const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  expect(Object.keys(manifest.dependencies).filter((name) => name.startsWith('@wa-dispatch/'))).toEqual([])
})
