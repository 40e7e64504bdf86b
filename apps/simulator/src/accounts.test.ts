import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { errorText, type Running, type Sample, samples, startSimulator } from './testing/harness.ts'

let simulator: Running
beforeAll(async () => {
  simulator = await startSimulator()
})
afterAll(() => simulator.close())
beforeEach(() => simulator.control('POST', '/reset', {}))

const register = (account: string, settings: Record<string, unknown>) =>
  simulator.control('PUT', `/accounts/${account}`, settings)

async function answerTo(sample: Sample, headers: Record<string, string> = {}) {
  const response = await simulator.send(sample, {}, headers)
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

const kaleyraCredentials = { sid: 'HXAP16XXXXXX97IN', apiKey: 'Axxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx3' }
const appId = 'bf9ee64c-3d4d-4ac4-8668-732e577007c4'

describe('once an account of a provider is registered', () => {
  it('Kaleyra takes its SID, key and number only', async () => {
    await register('kaleyra/919000000000', { credentials: kaleyraCredentials })
    expect((await answerTo(samples.kaleyraReaction)).status).toBe(202)
    const wrongKey = await answerTo(samples.kaleyraReaction, { 'api-key': 'other' })
    expect(wrongKey).toEqual({ status: 401, body: errorText.incorrectSid })
    const path = '/v2/HXOTHER/whatsapp/919000000000/messages'
    const wrongSid = await answerTo({ ...samples.kaleyraReaction, path })
    expect(wrongSid).toEqual({ status: 401, body: errorText.incorrectSid })
    const wrongNumber = await answerTo({
      ...samples.kaleyraReaction,
      path: '/v2/HXAP16XXXXXX97IN/whatsapp/919000000001/messages',
    })
    expect([wrongNumber.status, wrongNumber.body.code]).toEqual([401, 'WA401'])
  })

  it('Gupshup tells a wrong token, an unknown app and another app’s token apart', async () => {
    const token = samples.gupshupReaction.headers.authorization
    await register(`gupshup/${appId}`, { credentials: { token } })
    await register('gupshup/second-app', { credentials: { token: 'second-token' } })
    expect((await answerTo(samples.gupshupReaction)).status).toBe(200)
    const failed = { status: 401, body: { status: 'error', message: 'Authentication Failed' } }
    expect(await answerTo(samples.gupshupReaction, { authorization: 'wrong' })).toEqual(failed)
    expect(await answerTo(samples.gupshupReaction, { authorization: 'second-token' })).toEqual(failed)
    const unknown = { ...samples.gupshupReaction, path: '/partner/app/third-app/v3/message' }
    expect(await answerTo(unknown)).toEqual({
      status: 400,
      body: { message: 'Invalid App Details', status: 'error' },
    })
  })

  it('both Zixflow systems take its credentials and phone id only', async () => {
    await register('zixflow/phone-1', { credentials: { apiKey: 'zixflow-key', workspaceId: 'workspace-1' } })
    await register('zixflow-campaign/phone-9', { credentials: { token: 'campaign-token' } })
    expect((await answerTo(samples.zixflowReaction)).status).toBe(200)
    expect((await answerTo(samples.campaignButtons)).status).toBe(200)
    const wrongWorkspace = await answerTo(samples.zixflowReaction, { 'x-workspace-id': 'workspace-2' })
    expect(wrongWorkspace).toMatchObject({ status: 401, body: { success: false } })
    const wrongToken = await answerTo(samples.campaignButtons, { authorization: 'Bearer wrong' })
    expect(wrongToken).toMatchObject({ status: 401, body: { status: false } })
    const wrongPhone = await simulator.send(samples.zixflowReaction, { phone_id: 'phone-2' })
    expect([wrongPhone.status, await wrongPhone.json()]).toEqual([
      400,
      { success: false, message: 'Phone ID not found' },
    ])
  })

  it('other providers stay open', async () => {
    await register('kaleyra/919000000000', { credentials: kaleyraCredentials })
    expect((await answerTo(samples.gupshupReaction)).status).toBe(200)
  })
})

it('revoked credentials are refused until they are restored', async () => {
  await register('kaleyra/919000000000', { credentials: kaleyraCredentials })
  await simulator.control('POST', '/accounts/kaleyra/919000000000/revoke')
  expect((await answerTo(samples.kaleyraReaction)).body).toEqual(errorText.incorrectSid)
  await simulator.control('POST', '/accounts/kaleyra/919000000000/restore')
  expect((await answerTo(samples.kaleyraReaction)).status).toBe(202)
})

describe('a balance', () => {
  it('runs out and is refilled', async () => {
    await register('kaleyra/919000000000', { balance: 2 })
    const codes = async (count: number) => {
      const found = []
      for (let index = 0; index < count; index++) {
        found.push((await answerTo(samples.kaleyraReaction)).body.code)
      }
      return found
    }
    expect(await codes(3)).toEqual(['WA202', 'WA202', 'E110'])
    await simulator.control('POST', '/accounts/kaleyra/919000000000/refill', { amount: 1 })
    expect(await codes(2)).toEqual(['WA202', 'E110'])
    expect(await simulator.control('GET', '/accounts/kaleyra/919000000000')).toMatchObject({ balance: 0 })
  })

  it.each([
    ['gupshup', appId, samples.gupshupReaction, { status: 'error' }],
    ['zixflow', 'phone-1', samples.zixflowReaction, { success: false }],
    ['zixflow-campaign', 'phone-9', samples.campaignButtons, { status: false }],
  ])('that is empty is told by %s in its own shape', async (provider, account, sample, shape) => {
    await register(`${provider}/${account}`, { balance: 0 })
    expect(await answerTo(sample)).toEqual({
      status: 400,
      body: { ...shape, message: expect.stringMatching(/balance/i) },
    })
  })

  it('is taken by a message whose response is lost, and not by a refused one', async () => {
    await register(`gupshup/${appId}`, { balance: 5 })
    await simulator.control('PUT', '/faults', {
      faults: [
        { times: 1, effect: { kind: 'lost-response' } },
        { times: 1, effect: { kind: 'error', name: '500' } },
      ],
    })
    await expect(simulator.send(samples.gupshupReaction)).rejects.toThrow()
    expect((await answerTo(samples.gupshupReaction)).status).toBe(500)
    expect(await simulator.control('GET', `/accounts/gupshup/${appId}`)).toMatchObject({ balance: 4 })
  })

  it('pays for every recipient of a request that names several', async () => {
    await register('kaleyra/919000000000', { balance: 3 })
    const { messaging_object } = samples.kaleyraReaction.body
    const several = { messaging_object: { ...messaging_object, to: '919876543210,919876543211' } }
    expect((await simulator.send(samples.kaleyraReaction, several)).status).toBe(202)
    expect((await simulator.send(samples.kaleyraReaction, several)).status).toBe(400)
  })
})

describe('a rate limit', () => {
  it.each(['sliding', 'token'])('(%s) answers 429 to what is too much, and only that', async (window) => {
    await register(`gupshup/${appId}`, { rateLimit: { perSecond: 5, window, retryAfter: 1 } })
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => simulator.send(samples.gupshupReaction)),
    )
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused.length).toBeGreaterThan(0)
    expect(refused[0]!.headers.get('retry-after')).toBe('1')
    expect(await refused[0]!.json()).toEqual({ status: 'error', message: 'Too Many Requests' })
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(5)
    const summary = await simulator.control('GET', '/summary')
    if (window === 'sliding') expect(summary.accounts[0].maxAcceptedPerSecond).toBe(5)
    expect(summary.accounts[0].maxArrivedPerSecond).toBeGreaterThanOrEqual(
      summary.accounts[0].maxAcceptedPerSecond,
    )
  })

  it('says nothing about when to come back unless told to', async () => {
    await register('kaleyra/919000000000', { rateLimit: { perSecond: 1 } })
    const answers = await Promise.all([1, 2, 3].map(() => simulator.send(samples.kaleyraReaction)))
    const refused = answers.find(({ status }) => status === 429)!
    expect(refused.headers.has('retry-after')).toBe(false)
  })
})

describe('accounts', () => {
  it('are listed, changed in part and removed', async () => {
    await register('kaleyra/919000000000', { credentials: kaleyraCredentials, balance: 1 })
    await simulator.control('PATCH', '/accounts/kaleyra/919000000000', { balance: 7 })
    expect(await simulator.control('GET', '/accounts')).toEqual({
      accounts: [
        {
          provider: 'kaleyra',
          account: '919000000000',
          credentials: kaleyraCredentials,
          revoked: false,
          balance: 7,
          rateLimit: null,
        },
      ],
    })
    await simulator.control('DELETE', '/accounts/kaleyra/919000000000')
    expect(await simulator.control('GET', '/accounts')).toEqual({ accounts: [] })
  })

  it('with credentials of another provider’s kind, or unknown, are refused', async () => {
    expect(await register('kaleyra/919000000000', { credentials: { token: 'x' } })).toMatchObject({
      statusCode: 400,
    })
    expect(await register('twilio/1', {})).toMatchObject({ statusCode: 400 })
    expect(await simulator.control('POST', '/accounts/kaleyra/91/refill', { amount: 1 })).toMatchObject({
      statusCode: 404,
    })
  })

  it('from the start are there again after a reset', async () => {
    const own = await startSimulator({
      file: {
        accounts: [{ provider: 'kaleyra', account: '919000000000', balance: 1 }],
        faults: [{ id: 'slow', latency: { fixedMs: 1 } }],
      },
    })
    await own.send(samples.kaleyraReaction)
    expect((await own.control('GET', '/accounts')).accounts[0].balance).toBe(0)
    await own.control('DELETE', '/faults')
    await own.control('POST', '/reset')
    expect((await own.control('GET', '/accounts')).accounts[0].balance).toBe(1)
    expect((await own.control('GET', '/faults')).faults).toHaveLength(1)
    expect((await own.control('GET', '/requests')).items).toEqual([])
    await own.close()
  })
})
