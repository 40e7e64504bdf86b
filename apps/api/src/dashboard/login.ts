/** Login and logout: forms that only their own page can send. GETs change nothing but the form's own token. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { App } from '../app.ts'
import { findKey } from '../auth.ts'
import type { ApiKey } from '../config.ts'
import { Problem } from '../problems.ts'
import { loginPage, logoutPage } from './pages.ts'
import {
  createSession,
  isLogoutToken,
  LOGIN_COOKIE,
  LoginTokens,
  logoutToken,
  readSession,
  SESSION_COOKIE,
  setCookie,
} from './session.ts'

const FAILURES_PER_MINUTE = 10

const loginForm = z.object({ key: z.string().max(4096).default(''), token: z.string().max(256).default('') })
const logoutForm = z.object({ token: z.string().max(256).default('') })

export const sendPage = (reply: FastifyReply, status: number, html: string): FastifyReply =>
  reply
    .code(status)
    .type('text/html; charset=utf-8')
    .header('cache-control', 'no-store')
    .serializer(String)
    .send(html)

export function loginRoutes(app: App, keys: readonly ApiKey[]): void {
  const tokens = new LoginTokens(keys)
  const failures = app.createRateLimit({
    max: FAILURES_PER_MINUTE,
    timeWindow: 60_000,
    keyGenerator: ({ ip }) => `login ${ip}`,
  })
  const config = { scope: 'open' } as const
  const sessionOf = (request: FastifyRequest) => readSession(request.cookies[SESSION_COOKIE], keys)

  function showLogin(
    request: FastifyRequest,
    reply: FastifyReply,
    status: number,
    error?: string,
  ): FastifyReply {
    const { cookie, token } = tokens.create()
    setCookie(request, reply, LOGIN_COOKIE, cookie)
    return sendPage(reply, status, loginPage(token, error))
  }

  app.get('/login', { config, schema: { hide: true } }, (request, reply) =>
    sessionOf(request) ? reply.redirect('/dashboard', 303) : showLogin(request, reply, 200),
  )

  app.post('/login', { config, schema: { hide: true, body: loginForm } }, async (request, reply) => {
    const before = await failures(request, { increment: false })
    if (!before.isAllowed && before.remaining === 0) {
      reply.header('retry-after', Math.max(1, before.ttlInSeconds))
      return showLogin(request, reply, 429, 'Too many failed logins. Wait a minute.')
    }
    if (!tokens.check(request.cookies[LOGIN_COOKIE], request.body.token)) {
      return showLogin(request, reply, 403, 'This page was too old. Try again.')
    }
    const key = findKey(keys, request.body.key)
    if (!key?.scopes.has('admin')) {
      await failures(request)
      request.log.warn({ ip: request.ip }, 'dashboard.login_failed')
      return showLogin(request, reply, 401, 'This is not a key with the scope admin.')
    }
    setCookie(request, reply, LOGIN_COOKIE, null)
    setCookie(request, reply, SESSION_COOKIE, createSession(key).value)
    request.log.info({ key: key.name }, 'dashboard.login')
    return reply.redirect('/dashboard', 303)
  })

  app.get('/logout', { config, schema: { hide: true } }, (request, reply) => {
    const session = sessionOf(request)
    if (!session) return reply.redirect('/dashboard/login', 303)
    return sendPage(reply, 200, logoutPage(logoutToken(session), session.key.name))
  })

  app.post('/logout', { config, schema: { hide: true, body: logoutForm } }, (request, reply) => {
    const session = sessionOf(request)
    if (session && !isLogoutToken(session, request.body.token)) {
      throw new Problem('forbidden', 'This form was not ours, or too old.')
    }
    setCookie(request, reply, SESSION_COOKIE, null)
    return reply.redirect('/dashboard/login', 303)
  })
}
