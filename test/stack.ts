/**
 * The whole house for a test file: simulator, API and workers as processes of their own on a real Redis.
 * What a test started is ended with its file, and a process that does not end in good order fails the file.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import type { MessageView } from '@wa-dispatch/dispatch'
import { expect } from 'vitest'
import { checkoutDir } from '../scripts/checkout.ts'
import { freePort, type StartedProcess, startProcess } from '../scripts/processes.ts'
import type { OnEnd } from './endings.ts'

const key = 'a-key-for-tests'
export const apiKeys = `tests:${createHash('sha256').update(key).digest('hex')}:send+read+admin`

/** One of the simulator's records. */
export interface SeenRequest {
  seq: number
  atMs: number
  provider: string
  account: string
  recipient: string
  type: string
  accepted: boolean
  requestId: string | null
  reference: string | null
  answer: { status: number; code: string; body?: unknown }
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: unknown
  rawBody?: string
}

export interface Answer<Body = any> {
  status: number
  headers: Headers
  body: Body
}

export interface StackOptions {
  redisUrl: string
  /** `baseUrl` is filled in with the simulator's address. */
  accounts: Record<string, unknown>[] | ((apiUrl: string) => Record<string, unknown>[])
  env?: Record<string, string | undefined>
  /** Where it is told how it ends. */
  onEnd: OnEnd
}

export type Stack = Awaited<ReturnType<typeof startStack>>

/** The accounts of all four providers, quick enough for tests. */
export const allAccounts = (extra: Record<string, unknown> = {}): Record<string, unknown>[] =>
  [
    {
      id: 'kaleyra-in',
      provider: 'kaleyra',
      sid: 'HXAP16XXXXXX97IN',
      apiKey: 'Akey3',
      sender: '919000000000',
    },
    {
      id: 'gupshup-main',
      provider: 'gupshup',
      appId: 'bf9ee64c-3d4d-4ac4-8668-732e577007c4',
      token: 'sk_token',
    },
    { id: 'zixflow-ai', provider: 'zixflow', apiKey: 'zk', workspaceId: 'zw', phoneId: 'zp' },
    { id: 'zixflow-old', provider: 'zixflow-campaign', token: 'zt', phoneId: 'zp-old' },
  ].map((account) => ({
    timeoutMs: 1_000,
    rateLimit: { perSecond: 1_000 },
    retry: { unavailable: { delaysMs: [200, 400, 800] } },
    ...account,
    ...extra,
  }))

export const reaction = (emoji = '😀', messageId = 'wamid.HBgLMxxx') => ({
  type: 'reaction',
  reaction: { message_id: messageId, emoji },
})
export const replyButtons = (text = 'Is this time good for you?') => ({
  type: 'interactive',
  interactive: {
    type: 'button',
    body: { text },
    action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] },
  },
})

/** Starts the simulator; API and workers when asked for. */
export async function startStack(options: StackOptions) {
  const directory = mkdtempSync(join(tmpdir(), 'wa-dispatch-test-'))
  const simulatorPort = await freePort()
  const apiPort = await freePort()
  const simulatorUrl = `http://127.0.0.1:${simulatorPort}`
  const apiUrl = `http://127.0.0.1:${apiPort}`
  const accountsFile = join(directory, 'accounts.json')
  const given = typeof options.accounts === 'function' ? options.accounts(apiUrl) : options.accounts
  const accounts = given.map((account) => ({ baseUrl: simulatorUrl, ...account }))
  writeFileSync(accountsFile, JSON.stringify({ accounts }))
  const env = {
    REDIS_URL: options.redisUrl,
    ACCOUNTS_FILE: accountsFile,
    API_KEYS: apiKeys,
    API_PORT: String(apiPort),
    SIMULATOR_PORT: String(simulatorPort),
    LOG_LEVEL: 'info',
    ...options.env,
  }
  const started: StartedProcess[] = []
  const start = async (
    name: string,
    entry: string,
    ready: string,
    extra: Record<string, string | undefined>,
  ) => {
    const process = await startProcess({ name, entry, env: { ...env, ...extra } })
    started.push(process)
    await process.ready(ready)
    return process
  }
  await start('simulator', 'apps/simulator/src/main.ts', `${simulatorUrl}/simulator/accounts`, {})

  /** Has a module of test/faults run inside the process, before the program. */
  const preloaded = (fault: { module: string; env?: Record<string, string> } | undefined) =>
    fault && {
      NODE_OPTIONS: `--import ${pathToFileURL(join(checkoutDir, 'test/faults', fault.module)).href}`,
      ...fault.env,
    }

  async function call<Body = any>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<Body>> {
    const response = await fetch(`${apiUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined }
  }

  async function control<Body = any>(method: string, path: string, body?: unknown): Promise<Body> {
    const response = await fetch(`${simulatorUrl}/simulator/${path}`, {
      method,
      ...(body !== undefined && {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`simulator: ${method} ${path}: ${response.status} ${text}`)
    return text ? JSON.parse(text) : (undefined as Body)
  }

  const stack = {
    apiUrl,
    simulatorUrl,
    accountsFile,
    env,
    key,
    call,
    control,
    startApi: (fault?: { module: string; env?: Record<string, string> }) =>
      start('api', 'apps/api/src/main.ts', `${apiUrl}/health/ready`, { ...preloaded(fault) }),
    startWorker: async (
      fault?: { module: string; env?: Record<string, string> },
      extra: Record<string, string> = {},
    ) => {
      const port = await freePort()
      const env = { WORKER_PORT: String(port), ...preloaded(fault), ...extra }
      return start('worker', 'apps/worker/src/main.ts', `http://127.0.0.1:${port}/health/ready`, env)
    },

    /** Accepts one message and gives its id. */
    async send(message: Record<string, unknown>): Promise<string> {
      const answer = await call('POST', '/v1/messages', message)
      expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 202 })
      return answer.body.id
    },
    async sendAll(messages: Record<string, unknown>[]): Promise<string[]> {
      const ids: string[] = []
      for (let from = 0; from < messages.length; from += 1_000) {
        const answer = await call('POST', '/v1/messages/batch', {
          messages: messages.slice(from, from + 1_000),
        })
        expect(answer.status).toBe(202)
        for (const result of answer.body.results) {
          expect(result).toHaveProperty('id')
          ids.push(result.id)
        }
      }
      return ids
    },
    async read(id: string): Promise<MessageView> {
      const answer = await call<MessageView>('GET', `/v1/messages/${id}`)
      expect(answer.status).toBe(200)
      return answer.body
    },
    /** Waits until the message is in one of the states; fails with what it was last. */
    async until(id: string, states: string[], timeoutMs = 20_000): Promise<MessageView> {
      const deadline = performance.now() + timeoutMs
      for (;;) {
        const answer = await call<MessageView>('GET', `/v1/messages/${id}`)
        const message = answer.body
        // Redis may just be away; anything else is a fault.
        if (answer.status !== 503) expect(answer.status, JSON.stringify(answer.body)).toBe(200)
        if (states.includes(message.state)) return message
        if (performance.now() > deadline) throw new Error(`${id} is still ${JSON.stringify(message)}`)
        await sleep(50)
      }
    },
    /** Waits until all of them are in one of the states. @returns them in order */
    async untilAll(ids: string[], states: string[], timeoutMs = 60_000): Promise<MessageView[]> {
      const deadline = performance.now() + timeoutMs
      const found: MessageView[] = []
      for (let from = 0; from < ids.length; from += 50) {
        const some = ids.slice(from, from + 50)
        found.push(
          ...(await Promise.all(
            some.map((id) => stack.until(id, states, Math.max(1_000, deadline - performance.now()))),
          )),
        )
      }
      return found
    },
    /** Every request that the simulator got, oldest first. */
    async requests(filter: Record<string, string> = {}): Promise<SeenRequest[]> {
      const query = new URLSearchParams({ ...filter, format: 'ndjson' })
      const response = await fetch(`${simulatorUrl}/simulator/requests?${query}`)
      const text = await response.text()
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as SeenRequest)
    },
    faults: (...faults: Record<string, unknown>[]) => control('PUT', 'faults', { faults }),
    async close(): Promise<void> {
      // Before what they depend on.
      for (const process of [...started].reverse()) {
        const { code, signal } = await process.stop({ timeoutMs: 20_000 })
        const wanted = (code === 0 && signal === null) || killed.has(process)
        if (!wanted)
          throw new Error(`${process.name} ended with ${code ?? signal}:\n${process.output().slice(-4_000)}`)
      }
      rmSync(directory, { recursive: true, force: true })
    },
    /** SIGKILL, on purpose. */
    async kill(process: StartedProcess): Promise<void> {
      killed.add(process)
      process.kill('SIGKILL')
      await process.exited
    },
    /** This process is meant to end by itself in a way that is not a good one. */
    dies(process: StartedProcess): StartedProcess {
      killed.add(process)
      return process
    },
  }
  const killed = new Set<StartedProcess>()
  options.onEnd(() => stack.close())
  return stack
}
