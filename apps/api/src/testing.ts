/** The API for a test file: everything real, on a Redis of the file's own. */
import { createHash } from 'node:crypto'
import {
  connectRedis,
  createSigner,
  parseAccounts,
  parseAllowList,
  type Signer,
  whenReady,
} from '@wa-dispatch/dispatch'
import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import { pino } from 'pino'
import { afterAll } from 'vitest'
import { type App, type AppOptions, buildApp } from './app.ts'
import type { ApiKey, Scope } from './config.ts'
import { createPostBackGate } from './post-back-gate.ts'
import { Storage } from './storage.ts'

export const apiKey = (name: string, presented: string, ...scopes: Scope[]): ApiKey => ({
  name,
  hash: createHash('sha256').update(presented).digest(),
  scopes: new Set(scopes),
})

/** Keys by what they may do; the key itself is `key-` and its name. */
export const testKeys: ApiKey[] = [
  apiKey('all', 'key-all', 'send', 'read', 'admin'),
  apiKey('send', 'key-send', 'send'),
  apiKey('read', 'key-read', 'read'),
  apiKey('admin', 'key-admin', 'admin'),
]

export const testAccounts = parseAccounts(
  {
    accounts: [
      {
        id: 'kaleyra-in',
        provider: 'kaleyra',
        sid: 'HXAP16XXXXXX97IN',
        apiKey: 'secret-k',
        sender: '919000000000',
        receiptToken: 'receipts-k',
      },
      {
        id: 'gupshup-main',
        provider: 'gupshup',
        baseUrl: 'https://partner.gupshup.io',
        appId: 'bf9e',
        token: 'secret-g',
      },
      { id: 'zixflow-old', provider: 'zixflow-campaign', token: 'secret-z', phoneId: 'zp-old' },
    ],
  },
  {},
)

/** Signs post-backs in tests. */
export const testSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

export interface TestApi {
  app: App
  storage: Storage
  /** What was logged, a line each. */
  logged: string[]
  inject(options: InjectOptions & { key?: string | null }): Promise<LightMyRequestResponse>
  close(): Promise<void>
}

export interface TestApiOptions {
  keys?: ApiKey[]
  authenticates?: boolean
  requestsPerSecond?: number
  /** `POST_BACK_ALLOW`; with it, or with '', there is a secret to sign with. */
  postBackAllow?: string
  timeouts?: AppOptions['timeouts']
  /** False: do not wait until the ledger is open. */
  ready?: boolean
}

/** Ends with the file. */
export async function startApi(redisUrl: string, options: TestApiOptions = {}): Promise<TestApi> {
  const {
    keys = testKeys,
    authenticates = true,
    requestsPerSecond = 1_000_000,
    timeouts = {},
    postBackAllow,
    ready = true,
  } = options
  const logged: string[] = []
  const log = pino({ level: 'info' }, { write: (line) => void logged.push(line) })
  const redis = connectRedis(redisUrl, 'api', log)
  const storage = new Storage({ redis, accounts: testAccounts, retentionDays: 1, log })
  const postBacks = createPostBackGate({
    signer: postBackAllow === undefined ? undefined : (createSigner(testSecret) as Signer),
    allow: parseAllowList(postBackAllow ?? '').list,
  })
  const app = await buildApp({ log, storage, keys, authenticates, postBacks, requestsPerSecond, timeouts })
  storage.start()
  if (ready) {
    await whenReady(redis, 10_000)
    while ((await storage.state()).ledger !== 'open') await new Promise((resolve) => setTimeout(resolve, 10))
  }
  let closed: Promise<void> | undefined
  const close = async () => {
    await app.close()
    await storage.close()
    redis.disconnect()
  }
  const api: TestApi = {
    app,
    storage,
    logged,
    inject: ({ key = 'key-all', ...request }) =>
      app.inject({
        ...request,
        headers: { ...(key && { authorization: `Bearer ${key}` }), ...request.headers },
      }),
    close() {
      closed ??= close()
      return closed
    },
  }
  afterAll(() => api.close())
  return api
}

export const reaction = { type: 'reaction', reaction: { message_id: 'wamid.HBgLMxxx', emoji: '😀' } }

/** The body of `POST /v1/campaigns`; its rows have a variable `name`. */
export const campaign = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name: 'autumn',
  account: 'kaleyra-in',
  message: {
    type: 'interactive',
    interactive: {
      type: 'button',
      body: { text: 'Hello {{name}}, does Tuesday suit you?' },
      action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] },
    },
  },
  ...more,
})

export const message = (more: Record<string, unknown> = {}): Record<string, unknown> => ({
  account: 'kaleyra-in',
  to: '+919876543210',
  message: reaction,
  ...more,
})
