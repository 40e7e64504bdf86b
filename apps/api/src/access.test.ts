import { afterAll, describe, expect, it } from 'vitest'
import { useRedis } from '../../../test/redis.ts'
import { apiKey, startApi } from './testing.ts'

const redis = await useRedis(afterAll)
const api = await startApi(redis.url)

type Method = 'GET' | 'POST' | 'PATCH'
/** What each route of the document needs; a route that is not here fails the test below. `token`: an account's own. */
const scopes: Record<string, 'send' | 'read' | 'admin' | 'token' | null> = {
  'POST /v1/messages': 'send',
  'POST /v1/messages/batch': 'send',
  'GET /v1/messages': 'read',
  'GET /v1/messages/{id}': 'read',
  'POST /v1/messages/{id}/cancel': 'send',
  'POST /v1/messages/{id}/resolve': 'admin',
  'POST /v1/campaigns': 'send',
  'GET /v1/campaigns': 'read',
  'GET /v1/campaigns/{id}': 'read',
  'GET /v1/campaigns/{id}/report': 'read',
  'POST /v1/campaigns/{id}/recipients': 'send',
  'POST /v1/campaigns/{id}/check': 'send',
  'POST /v1/campaigns/{id}/start': 'send',
  'POST /v1/campaigns/{id}/pause': 'send',
  'POST /v1/campaigns/{id}/resume': 'send',
  'POST /v1/campaigns/{id}/cancel': 'send',
  'POST /v1/campaigns/{id}/retry': 'send',
  'POST /v1/campaigns/{id}/reconcile': 'send',
  'GET /v1/accounts': 'read',
  'PATCH /v1/accounts/{id}': 'admin',
  'POST /v1/accounts/{id}/pause': 'admin',
  'POST /v1/accounts/{id}/resume': 'admin',
  'POST /v1/receipts/{account}': 'token',
  'GET /v1/receipts': 'read',
  'GET /v1/post-backs': 'read',
  'POST /v1/post-backs/{id}/resend': 'admin',
  'GET /metrics': 'read',
  'GET /health/live': null,
  'GET /health/ready': null,
}

const document = (await api.inject({ url: '/openapi.json', key: null })).json() as {
  openapi: string
  paths: Record<string, Record<string, { security?: unknown; responses: object }>>
}
const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
)

describe('who may do what', () => {
  it('is known for each route of the OpenAPI document', () => {
    expect(document.openapi).toBe('3.1.0')
    expect(routes.sort()).toEqual(Object.keys(scopes).sort())
  })

  for (const [route, scope] of Object.entries(scopes)) {
    const [method, path] = route.split(' ') as [Method, string]
    const url = path.replace(/\{\w+\}/, 'kaleyra-in')
    const ask = (key: string | null) => api.inject({ method, url, key })

    if (scope === null) {
      it(`${route} is open`, async () => {
        expect((await ask(null)).statusCode).toBe(200)
      })
      continue
    }
    if (scope === 'token') {
      it(`${route} needs the account's own token, and no key`, async () => {
        expect((await ask('key-all')).statusCode).toBe(401)
        expect((await api.inject({ method, url: `${url}?token=receipts-k`, key: null })).statusCode).toBe(400)
        expect(document.paths[path]![method.toLowerCase()]).not.toHaveProperty('security')
      })
      continue
    }
    it(`${route} needs a key with the scope ${scope}`, async () => {
      for (const key of [null, 'not-a-key']) {
        const refused = await ask(key)
        expect(refused.statusCode).toBe(401)
        expect(refused.headers['www-authenticate']).toMatch(/^Bearer/)
        expect(refused.headers['content-type']).toMatch(/^application\/problem\+json/)
      }
      for (const other of ['send', 'read', 'admin'].filter((one) => one !== scope)) {
        const refused = await ask(`key-${other}`)
        expect(refused.statusCode, other).toBe(403)
        expect(refused.json()).toMatchObject({ status: 403, type: 'urn:wa-dispatch:problem:forbidden' })
      }
      expect([401, 403]).not.toContain((await ask(`key-${scope}`)).statusCode)
      expect(document.paths[path]![method.toLowerCase()]).toHaveProperty('security')
    })
  }

  it('is everything for everybody with AUTH=off', async () => {
    const open = await startApi(redis.url, { keys: [], authenticates: false })
    expect((await open.inject({ url: '/v1/accounts', key: null })).statusCode).toBe(200)
    expect((await open.inject({ url: '/dashboard/', key: null })).statusCode).toBe(200)
  })

  it('takes no key from the query, and no other kind of authorization', async () => {
    expect((await api.inject({ url: '/v1/accounts?key=key-all', key: null })).statusCode).toBe(401)
    const basic = { authorization: `Basic ${Buffer.from('all:key-all').toString('base64')}` }
    expect((await api.inject({ url: '/v1/accounts', key: null, headers: basic })).statusCode).toBe(401)
  })
})

describe('too many requests', () => {
  it('are refused for the one key and not for another, and never for health', async () => {
    const keys = [apiKey('one', 'key-one', 'read'), apiKey('two', 'key-two', 'read')]
    const slow = await startApi(redis.url, { keys, requestsPerSecond: 5 })
    const asked = await Promise.all(
      Array.from({ length: 40 }, () => slow.inject({ url: '/v1/messages/none', key: 'key-one' })),
    )
    const refused = asked.filter(({ statusCode }) => statusCode === 429)
    expect(refused.length).toBeGreaterThan(0)
    expect(refused[0]!.json()).toMatchObject({
      status: 429,
      type: 'urn:wa-dispatch:problem:too-many-requests',
    })
    expect(Number(refused[0]!.headers['retry-after'])).toBeGreaterThan(0)
    expect((await slow.inject({ url: '/v1/messages/none', key: 'key-two' })).statusCode).toBe(404)
    const health = await Promise.all(
      Array.from({ length: 20 }, () => slow.inject({ url: '/health/live', key: null })),
    )
    expect(health.every(({ statusCode }) => statusCode === 200)).toBe(true)
  })
})
