import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  errorText,
  interactive,
  type Running,
  reaction,
  type Sample,
  samples,
  startSimulator,
} from './testing/harness.ts'

let simulator: Running
beforeAll(async () => {
  simulator = await startSimulator()
})
afterAll(() => simulator.close())

const all = Object.entries(samples) as [keyof typeof samples, Sample][]

/** Each system's shape of a failure. */
function failureShape(name: string): Record<string, unknown> {
  if (name.startsWith('kaleyra')) return errorText.payload
  if (name.startsWith('gupshup')) return { status: 'error', message: expect.any(String) }
  if (name.startsWith('campaign')) return { status: false, message: expect.any(String) }
  return { success: false, message: expect.any(String) }
}

const withoutField = (body: Record<string, unknown>, field: string) => {
  const { [field]: _removed, ...rest } = body
  return rest
}

async function post(sample: Sample, body: string, headers: Record<string, string> = {}) {
  const response = await fetch(simulator.url + sample.path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...sample.headers, ...headers },
    body,
  })
  return { status: response.status, body: await response.json() }
}

describe.each(all)('%s', (name, sample) => {
  it('refuses a body that is not JSON, is empty, or is no object', async () => {
    for (const body of ['{"a":', '', '[]', '"text"', 'null', '1']) {
      expect(await post(sample, body)).toEqual({ status: 400, body: failureShape(name) })
    }
  })

  it('refuses an unknown field at the top', async () => {
    const answer = await post(sample, JSON.stringify({ ...sample.body, surprise: 1 }))
    expect(answer).toEqual({ status: 400, body: failureShape(name) })
  })

  it('refuses another content type', async () => {
    const answer = await post(sample, JSON.stringify(sample.body), { 'content-type': 'text/plain' })
    expect(answer).toEqual({ status: 400, body: failureShape(name) })
  })

  it('refuses another method in its own shape', async () => {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const response = await fetch(simulator.url + sample.path, { method, headers: sample.headers })
      expect(response.status).toBe(405)
      expect(response.headers.get('allow')).toBe('POST')
      expect(Object.keys((await response.json()) as object).sort()).toEqual(
        Object.keys(failureShape(name)).sort(),
      )
    }
  })

  it('refuses a missing credential with 401', async () => {
    for (const header of Object.keys(sample.headers).filter((one) => one !== 'cache-control')) {
      const headers = withoutField(sample.headers, header) as Record<string, string>
      const response = await simulator.send({ ...sample, headers })
      expect(response.status).toBe(401)
    }
  })

  it('refuses a body of several megabytes', async () => {
    const answer = await post(sample, JSON.stringify({ ...sample.body, surprise: 'x'.repeat(3_000_000) }))
    expect(answer).toEqual({ status: 400, body: failureShape(name) })
  })
})

describe('required fields', () => {
  const required: [keyof typeof samples, string[]][] = [
    ['zixflowReaction', ['recipient', 'phone_id', 'reaction']],
    ['zixflowButtons', ['recipient', 'phone_id', 'interactive']],
    ['kaleyraReaction', ['messaging_object']],
    ['gupshupReaction', ['messaging_product', 'recipient_type', 'to', 'type', 'reaction']],
    ['gupshupButtons', ['messaging_product', 'recipient_type', 'to', 'type', 'interactive']],
    ['campaignButtons', ['to', 'phoneId', 'type', 'interactive']],
  ]
  it.each(required)('%s: each one missing or of the wrong type is refused', async (name, fields) => {
    const sample: Sample = samples[name]
    for (const field of fields) {
      const missing = await post(sample, JSON.stringify(withoutField(sample.body, field)))
      expect([field, missing]).toEqual([field, { status: 400, body: failureShape(name) }])
      for (const wrong of [7, null, [], true]) {
        const answer = await post(sample, JSON.stringify({ ...sample.body, [field]: wrong }))
        expect([field, wrong, answer.status]).toEqual([field, wrong, 400])
      }
    }
  })

  it('says in a text answer which field it is', async () => {
    const { path, headers, body } = samples.zixflowReaction
    const answer = await post({ path, headers, body }, JSON.stringify(withoutField(body, 'recipient')))
    expect(answer.body).toEqual({ success: false, message: 'recipient is required' })
  })

  it('Kaleyra: each one of messaging_object missing is refused', async () => {
    const { messaging_object: message } = samples.kaleyraReaction.body
    for (const field of ['messaging_product', 'to', 'type', 'reaction']) {
      const answer = await simulator.send(samples.kaleyraReaction, {
        messaging_object: withoutField(message, field),
      })
      expect([field, await answer.json()]).toEqual([field, errorText.payload])
    }
  })
})

describe('recipients', () => {
  const bad = ['', '0123456789', '123456', '1234567890123456', '91 9876543210', '91-9876543210', 'abc']
  it('must be E.164', async () => {
    for (const to of bad) {
      expect([to, (await simulator.send(samples.gupshupReaction, { to })).status]).toEqual([to, 400])
      expect([to, (await simulator.send(samples.campaignButtons, { to })).status]).toEqual([to, 400])
      const zixflow = await simulator.send(samples.zixflowReaction, { recipient: to })
      expect([to, zixflow.status]).toEqual([to, 400])
      const { messaging_object } = samples.kaleyraReaction.body
      const kaleyra = await simulator.send(samples.kaleyraReaction, {
        messaging_object: { ...messaging_object, to },
      })
      expect([to, kaleyra.status]).toEqual([to, 400])
    }
  })

  it('take a plus sign at Kaleyra only, and several numbers there', async () => {
    expect((await simulator.send(samples.zixflowReaction, { recipient: '+919876543210' })).status).toBe(400)
    expect((await simulator.send(samples.campaignButtons, { to: '+919876543210' })).status).toBe(400)
    const { messaging_object } = samples.kaleyraReaction.body
    const several = await simulator.send(samples.kaleyraReaction, {
      messaging_object: { ...messaging_object, to: '+919876543210,919876543211' },
    })
    expect(several.status).toBe(202)
  })
})

describe('content', () => {
  const button = (id: string, title: string) => ({ type: 'reply', reply: { id, title } })
  const buttons = (...list: unknown[]) => ({ ...interactive, action: { buttons: list } })
  const misfits: [string, Record<string, unknown>][] = [
    ['no button', buttons()],
    ['four buttons', buttons(button('1', 'a'), button('2', 'b'), button('3', 'c'), button('4', 'd'))],
    ['a title of 21 characters', buttons(button('1', 'x'.repeat(21)))],
    ['an empty title', buttons(button('1', ''))],
    ['an id of 257 characters', buttons(button('x'.repeat(257), 'a'))],
    ['the same id twice', buttons(button('1', 'a'), button('1', 'b'))],
    ['the same title twice', buttons(button('1', 'a'), button('2', 'b'), button('3', 'a'))],
    ['a button of another type', buttons({ ...button('1', 'a'), type: 'url' })],
    ['an unknown field in a button', buttons({ ...button('1', 'a'), surprise: 1 })],
    ['a body of 1,025 characters', { ...interactive, body: { text: 'x'.repeat(1025) } }],
    ['no body', withoutField(interactive, 'body')],
    ['a footer of 61 characters', { ...interactive, footer: { text: 'x'.repeat(61) } }],
    ['a text header of 61 characters', { ...interactive, header: { type: 'text', text: 'x'.repeat(61) } }],
    ['a header of another type', { ...interactive, header: { type: 'audio', audio: 'https://f.example/a' } }],
    ['a media header without its medium', { ...interactive, header: { type: 'image' } }],
    ['a header that is not a URL', { ...interactive, header: { type: 'image', image: 'ftp://f.example/a' } }],
    ['another interactive type', { ...interactive, type: 'list' }],
  ]
  it.each(misfits)('with %s is refused by every system', async (_name, misfit) => {
    for (const name of ['zixflowButtons', 'gupshupButtons', 'campaignButtons'] as const) {
      const response = await simulator.send(samples[name], { interactive: misfit })
      expect([name, response.status]).toEqual([name, 400])
    }
    const { messaging_object } = samples.kaleyraButtons.body
    const response = await simulator.send(samples.kaleyraButtons, {
      messaging_object: { ...messaging_object, interactive: misfit },
    })
    expect(await response.json()).toEqual(errorText.payload)
  })

  it('counts an emoji in a title as one character', async () => {
    const widest = buttons(button('1', '😀'.repeat(20)))
    expect((await simulator.send(samples.gupshupButtons, { interactive: widest })).status).toBe(200)
    const tooWide = buttons(button('1', '😀'.repeat(21)))
    expect((await simulator.send(samples.gupshupButtons, { interactive: tooWide })).status).toBe(400)
  })

  it('of media headers keeps to each system’s own shape', async () => {
    const asObject = { ...interactive, header: { type: 'image', image: { link: 'https://f.example/a.png' } } }
    const asText = { ...interactive, header: { type: 'image', image: 'https://f.example/a.png' } }
    expect((await simulator.send(samples.campaignButtons, { interactive: asObject })).status).toBe(400)
    expect((await simulator.send(samples.gupshupButtons, { interactive: asText })).status).toBe(400)
  })

  it('of a reaction is one emoji on a message', async () => {
    const misfits = [
      { ...reaction, emoji: 'ok' },
      { ...reaction, emoji: '😀😀' },
      { ...reaction, emoji: '\\uD83D\\uDE00' },
      { ...reaction, message_id: '' },
      { ...reaction, surprise: 1 },
      withoutField(reaction, 'emoji'),
      withoutField(reaction, 'message_id'),
    ]
    for (const misfit of misfits) {
      expect((await simulator.send(samples.zixflowReaction, { reaction: misfit })).status).toBe(400)
      expect((await simulator.send(samples.gupshupReaction, { reaction: misfit })).status).toBe(400)
    }
  })

  it('of one kind does not pass as the other', async () => {
    expect((await simulator.send(samples.zixflowReaction, { interactive })).status).toBe(400)
    expect((await simulator.send(samples.gupshupReaction, { type: 'interactive' })).status).toBe(400)
  })
})

describe('credentials', () => {
  it('of Gupshup stand bare in Authorization', async () => {
    const response = await simulator.send(samples.gupshupReaction, {}, { authorization: 'Bearer sk_1' })
    expect(response.status).toBe(401)
    expect(await response.json()).toEqual({ status: 'error', message: 'Authentication Failed' })
  })

  it('of the campaign API need their scheme', async () => {
    const response = await simulator.send(samples.campaignButtons, {}, { authorization: 'campaign-token' })
    expect(response.status).toBe(401)
  })

  it('of Kaleyra are told apart from the sender', async () => {
    const { 'api-key': _key, ...headers } = samples.kaleyraReaction.headers
    const noKey = await simulator.send({ ...samples.kaleyraReaction, headers })
    expect(await noKey.json()).toEqual(errorText.incorrectSid)
    const path = '/v2/HXAP16XXXXXX97IN/whatsapp/not-a-number/messages'
    const noNumber = await simulator.send({ ...samples.kaleyraReaction, path })
    expect(noNumber.status).toBe(401)
    expect(await noNumber.json()).toMatchObject({
      code: 'WA401',
      error: { phone_number: expect.any(String) },
    })
  })
})

it('answers a path that no system has with 404, and remembers it', async () => {
  const response = await fetch(`${simulator.url}/v2/HX/whatsapp/919000000000/message`, { method: 'POST' })
  expect(response.status).toBe(404)
  const { items } = await simulator.control('GET', '/requests?code=unknown-path')
  expect(items.at(-1)).toMatchObject({ path: '/v2/HX/whatsapp/919000000000/message', accepted: false })
})
