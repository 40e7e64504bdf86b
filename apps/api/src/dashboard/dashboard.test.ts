import type { LightMyRequestResponse } from 'fastify'
import { afterAll, describe, expect, it } from 'vitest'
import { useRedis } from '../../../../test/redis.ts'
import { apiKey, message, startApi, type TestApi, testKeys } from '../testing.ts'
import { createSession, readSession, SESSION_COOKIE } from './session.ts'

const redis = await useRedis(afterAll)
const api = await startApi(redis.url)

const get = (url: string, cookie?: string, on: TestApi = api) =>
  on.inject({ url, key: null, headers: cookie ? { cookie } : {} })
const form = (url: string, fields: Record<string, string>, cookie = '', on: TestApi = api) =>
  on.inject({
    method: 'POST',
    url,
    key: null,
    headers: { 'content-type': 'application/x-www-form-urlencoded', cookie },
    payload: new URLSearchParams(fields).toString(),
  })
const cookieOf = ({ headers }: LightMyRequestResponse): string =>
  [headers['set-cookie'] ?? []]
    .flat()
    .map((cookie) => cookie.split(';', 1)[0])
    .filter((cookie) => !cookie?.endsWith('='))
    .join('; ')
const tokenOf = ({ body }: LightMyRequestResponse): string =>
  /name="token" value="([^"]+)"/.exec(body)?.[1] ?? ''

async function logIn(key: string, on: TestApi = api): Promise<LightMyRequestResponse> {
  const page = await get('/dashboard/login', undefined, on)
  return form('/dashboard/login', { key, token: tokenOf(page) }, cookieOf(page), on)
}

describe('the dashboard', () => {
  it('shows nothing without a login', async () => {
    for (const url of [
      '/dashboard',
      '/dashboard/',
      '/dashboard/queue/kaleyra-in',
      '/dashboard/static/x.js',
    ]) {
      const answer = await get(url)
      expect([answer.statusCode, answer.headers.location], url).toEqual([303, '/dashboard/login'])
    }
    for (const cookie of [undefined, `${SESSION_COOKIE}=all~9999999999999~nonce~signature`]) {
      const answer = await get('/dashboard/api/queues', cookie)
      expect(answer.statusCode).toBe(401)
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    }
    const bearer = await api.inject({ url: '/dashboard/api/queues' })
    expect(bearer.statusCode, 'a bearer key is no session').toBe(401)
  })

  it('opens with an admin key and shows every lane with masked numbers', async () => {
    await api.inject({ method: 'POST', url: '/v1/messages', payload: message() })
    const answer = await logIn('key-admin')
    expect([answer.statusCode, answer.headers.location]).toEqual([303, '/dashboard'])
    const session = [answer.headers['set-cookie']].flat().find((cookie) => cookie?.startsWith(SESSION_COOKIE))
    expect(session).toMatch(/HttpOnly/)
    expect(session).toMatch(/SameSite=Strict/)
    expect(session).not.toMatch(/Secure/)
    const cookie = cookieOf(answer)
    const page = await get('/dashboard', cookie)
    expect(page.statusCode).toBe(200)
    expect(page.body).not.toContain('googleapis')
    const { queues } = (
      await get('/dashboard/api/queues?activeQueue=kaleyra-in&page=1&jobsPerPage=10', cookie)
    ).json()
    expect(queues.map(({ name }: { name: string }) => name).sort()).toEqual([
      'gupshup-main',
      'kaleyra-in',
      'zixflow-old',
    ])
    expect(JSON.stringify(queues)).toContain('9198••••3210')
    expect(JSON.stringify(queues)).not.toContain('919876543210')
  })

  it('marks its cookie Secure behind HTTPS', async () => {
    const page = await api.inject({
      url: '/dashboard/login',
      key: null,
      headers: { 'x-forwarded-proto': 'https' },
    })
    expect(String(page.headers['set-cookie'])).toMatch(/Secure/)
  })

  it('changes nothing: whatever is not a GET is refused', async () => {
    const cookie = cookieOf(await logIn('key-admin'))
    for (const url of [
      '/dashboard/api/queues/pause',
      '/dashboard/api/queues/kaleyra-in/pause',
      '/dashboard/api/queues/kaleyra-in/empty',
    ]) {
      const answer = await api.inject({ method: 'PUT', url, key: null, headers: { cookie } })
      expect(answer.statusCode, url).toBe(405)
    }
    expect(await api.storage.lanes.get('kaleyra-in')!.isPaused()).toBe(false)
  })

  it('refuses wrong keys, keys without the scope, and forms that are not its own', async () => {
    const own = await startApi(redis.url)
    expect((await logIn('wrong', own)).statusCode).toBe(401)
    expect((await logIn('key-send', own)).statusCode).toBe(401)
    const page = await get('/dashboard/login', undefined, own)
    expect(
      (await form('/dashboard/login', { key: 'key-admin', token: 'x' }, cookieOf(page), own)).statusCode,
    ).toBe(403)
    expect(
      (await form('/dashboard/login', { key: 'key-admin', token: tokenOf(page) }, '', own)).statusCode,
    ).toBe(403)
    expect((await form('/dashboard/login', {}, '', own)).statusCode).toBe(403)
  })

  it('lets nobody guess for long', async () => {
    const own = await startApi(redis.url)
    const statuses: number[] = []
    for (let attempt = 0; attempt < 15; attempt++)
      statuses.push((await logIn(`guess-${attempt}`, own)).statusCode)
    expect(statuses.slice(0, 5)).toEqual([401, 401, 401, 401, 401])
    expect(statuses.at(-1)).toBe(429)
    expect((await logIn('key-admin', own)).statusCode, 'not even with the right key').toBe(429)
  })

  it('logs out by its own form only', async () => {
    const cookie = cookieOf(await logIn('key-admin'))
    const page = await get('/dashboard/logout', cookie)
    expect((await form('/dashboard/logout', { token: 'x' }, cookie)).statusCode).toBe(403)
    const answer = await form('/dashboard/logout', { token: tokenOf(page) }, cookie)
    expect(answer.headers.location).toBe('/dashboard/login')
    expect(String(answer.headers['set-cookie'])).toMatch(new RegExp(`${SESSION_COOKIE}=;`))
  })

  it('shares sessions between processes, and ends them with their key or after 8 hours', async () => {
    const cookie = cookieOf(await logIn('key-admin'))
    const second = await startApi(redis.url)
    expect((await get('/dashboard/api/queues', cookie, second)).statusCode).toBe(200)
    const without = await startApi(redis.url, { keys: testKeys.filter(({ name }) => name !== 'admin') })
    expect((await get('/dashboard/api/queues', cookie, without)).statusCode).toBe(401)

    const key = apiKey('ops', 'k', 'admin')
    const { value } = createSession(key, 0)
    expect(readSession(value, [key], 7 * 3_600_000)?.key).toBe(key)
    expect(readSession(value, [key], 8 * 3_600_000 + 1)).toBeUndefined()
    expect(readSession(value, [apiKey('ops', 'changed', 'admin')], 0)).toBeUndefined()
    expect(readSession(value, [apiKey('ops', 'k', 'read')], 0)).toBeUndefined()
  })
})
