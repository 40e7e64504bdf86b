/**
 * Sessions of the dashboard: a signed cookie that names an admin key and when it ends. The signature's secret comes
 * from that key's hash, so that every API process accepts it, and a key that is taken away ends its sessions.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ApiKey } from '../config.ts'

export const SESSION_COOKIE = 'wa_dispatch_session'
export const LOGIN_COOKIE = 'wa_dispatch_login'
const SESSION_MS = 8 * 3_600_000
const LOGIN_MS = 3_600_000

export interface Session {
  key: ApiKey
  /** What the cookie holds; forms are bound to it. */
  value: string
}

type Purpose = 'session' | 'logout' | 'login'

const signature = (secret: Buffer, purpose: Purpose, text: string): string => {
  const own = createHmac('sha256', secret).update(`wa-dispatch dashboard ${purpose}`).digest()
  return createHmac('sha256', own).update(text).digest('base64url')
}

function equal(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}

/** @param now milliseconds since 1970 */
export function createSession(key: ApiKey, now = Date.now()): Session {
  const text = `${key.name}~${now + SESSION_MS}~${randomBytes(9).toString('base64url')}`
  return { key, value: `${text}~${signature(key.hash, 'session', text)}` }
}

/** @returns the session of a cookie; undefined when it is forged, over, or its key is gone or no admin any more */
export function readSession(
  value: string | undefined,
  keys: readonly ApiKey[],
  now = Date.now(),
): Session | undefined {
  const [name, end, nonce, given] = value?.split('~') ?? []
  if (value === undefined || !name || !end || !nonce || !given) return undefined
  const key = keys.find((one) => one.name === name)
  if (!key?.scopes.has('admin') || !equal(given, signature(key.hash, 'session', `${name}~${end}~${nonce}`)))
    return undefined
  return Number(end) > now ? { key, value } : undefined
}

/** What the logout form carries, so that no other site can send it. */
export const logoutToken = ({ key, value }: Session): string => signature(key.hash, 'logout', value)

export const isLogoutToken = (session: Session, token: unknown): boolean =>
  typeof token === 'string' && equal(token, logoutToken(session))

/** The login form's token belongs to a cookie that only the browser with the form has. */
export class LoginTokens {
  readonly #secret: Buffer
  constructor(keys: readonly ApiKey[]) {
    this.#secret = Buffer.concat(keys.map(({ hash }) => hash).sort(Buffer.compare))
  }

  /** @returns the cookie's value and the form's token */
  create(now = Date.now()): { cookie: string; token: string } {
    const cookie = `${now + LOGIN_MS}~${randomBytes(18).toString('base64url')}`
    return { cookie, token: signature(this.#secret, 'login', cookie) }
  }

  check(cookie: string | undefined, token: unknown, now = Date.now()): boolean {
    if (cookie === undefined || typeof token !== 'string') return false
    return equal(token, signature(this.#secret, 'login', cookie)) && Number(cookie.split('~', 1)[0]) > now
  }
}

const isHttps = ({ protocol, headers }: FastifyRequest): boolean =>
  protocol === 'https' || headers['x-forwarded-proto'] === 'https' // believing it only makes the cookie stricter

/** @param value null takes the cookie away */
export function setCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  name: string,
  value: string | null,
  ms = SESSION_MS,
) {
  reply.setCookie(name, value ?? '', {
    path: '/dashboard',
    httpOnly: true,
    sameSite: 'strict',
    secure: isHttps(request),
    maxAge: value === null ? 0 : Math.floor(ms / 1000),
  })
}
