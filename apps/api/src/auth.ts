/** Who calls, and whether they may: bearer keys, compared as hashes in constant time. */
import { hash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { App } from './app.ts'
import { type ApiKey, SCOPES, type Scope } from './config.ts'
import { Problem } from './problems.ts'

/** Who made a request. */
export interface Caller {
  /** The key's name; `anonymous` where keys are not asked for. */
  name: string
  scopes: ReadonlySet<Scope>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Null on routes that are open to everybody. */
    caller: Caller | null
  }
  interface FastifyContextConfig {
    /** What a key needs for this route; `open` for none. */
    scope?: Scope | 'open'
  }
}

const everybody: Caller = { name: 'anonymous', scopes: new Set(SCOPES) }

/** @returns the key that was presented; every configured hash is compared, so that time tells nothing */
export function findKey(keys: readonly ApiKey[], presented: string): ApiKey | undefined {
  const digest = hash('sha256', presented, 'buffer')
  let found: ApiKey | undefined
  for (const key of keys) if (timingSafeEqual(key.hash, digest)) found = key
  return found
}

/** Refused logins from one address in a minute, after which it waits. */
const REFUSALS_PER_MINUTE = 120

export interface AuthOptions {
  keys: readonly ApiKey[]
  authenticates: boolean
}

/**
 * Asks for a key on every route but those that say `open`; a route under /v1 that says nothing is
 * a mistake, found when the application is built.
 */
export function authenticate(app: App, { keys, authenticates }: AuthOptions): void {
  app.decorateRequest('caller', null)
  app.addHook('onRoute', ({ config, method, url, schema }) => {
    // What plugins add (the pages' files) hides itself from the document.
    const hidden = (schema as { hide?: boolean } | undefined)?.hide
    if (!config?.scope && !hidden && url.startsWith('/v1')) throw new Error(`${method} ${url} names no scope`)
  })
  const refusals = app.createRateLimit({
    max: REFUSALS_PER_MINUTE,
    timeWindow: 60_000,
    keyGenerator: ({ ip }) => ip,
  })

  app.addHook('onRequest', (request, _reply, done) => {
    const { scope } = request.routeOptions.config
    if (!scope || scope === 'open') return done()
    const caller = authenticates ? callerOf(request, keys) : everybody
    if (!caller) return void refuse(request).then(done, done)
    if (!caller.scopes.has(scope))
      return done(new Problem('forbidden', `This needs a key with the scope ${scope}.`))
    request.caller = caller
    done()
  })

  async function refuse(request: FastifyRequest): Promise<Problem> {
    const { isAllowed, ...limit } = await refusals(request)
    if (!isAllowed && 'isExceeded' in limit && limit.isExceeded) {
      const retryAfterSeconds = Math.max(1, limit.ttlInSeconds)
      return new Problem('too-many-requests', 'Too many refused keys from this address.', {
        retryAfterSeconds,
      })
    }
    return new Problem('unauthorized', 'Send a configured key as "Authorization: Bearer <key>".')
  }
}

function callerOf({ headers }: FastifyRequest, keys: readonly ApiKey[]): Caller | undefined {
  const { authorization } = headers
  if (!authorization) return undefined
  const presented = /^Bearer +(\S+) *$/i.exec(authorization)?.[1]
  return presented === undefined ? undefined : findKey(keys, presented)
}
