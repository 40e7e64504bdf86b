/** Our API, and as many workers as asked for, on some accounts at the simulator. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../scripts/processes.ts'
import { type BenchAccount, concurrency } from './given.ts'
import type { Program, ProgramOptions } from './programs.ts'

const key = 'a-key-for-the-benchmark'
export const authorization = `Bearer ${key}`

export interface Deployment {
  readonly api: Program
  readonly apiUrl: string
  /** @throws for an answer that is not 2xx */
  // biome-ignore lint/suspicious/noExplicitAny: answers of our own API, read in few places
  call(method: string, path: string, body?: unknown): Promise<any>
  /** What is on an account's lane: waiting, delayed, active, uncertain. */
  depth(account: string): Promise<Record<string, number>>
  /** @param preload a module that is loaded in front of it, from the checkout's root */
  startWorker(preload?: string): Promise<Program>
  /** Ends the workers, then the API; repeatable. */
  stop(): Promise<void>
}

export interface DeployOptions {
  part: string
  accounts: readonly BenchAccount[]
  redisUrl: string
  simulatorUrl: string
  directory: string
  start: (options: Omit<ProgramOptions, 'directory'>) => Promise<Program>
}

export async function deploy(options: DeployOptions): Promise<Deployment> {
  const { part, accounts, redisUrl, simulatorUrl, directory, start } = options
  const accountsFile = join(directory, `accounts-${part}.json`)
  const atSimulator = accounts.map((account) => ({ ...account, baseUrl: simulatorUrl }))
  writeFileSync(accountsFile, JSON.stringify({ accounts: atSimulator }))
  const env = {
    REDIS_URL: redisUrl,
    ACCOUNTS_FILE: accountsFile,
    NODE_ENV: 'production',
    LOG_LEVEL: 'warn', // no line a message, like the other side
  }
  const apiPort = await freePort()
  const apiUrl = `http://127.0.0.1:${apiPort}`
  const api = await start({
    name: `${part}-api`,
    entry: 'apps/api/src/main.ts',
    env: {
      ...env,
      API_PORT: String(apiPort),
      API_KEYS: `bench:${createHash('sha256').update(key).digest('hex')}:send+read+admin`,
      API_RATE_LIMIT: '1000000',
    },
    profiled: true,
  })
  await api.ready(`${apiUrl}/health/ready`)
  const workers: Program[] = []

  const call: Deployment['call'] = async (method, path, body) => {
    const response = await fetch(`${apiUrl}${path}`, {
      method,
      signal: AbortSignal.timeout(60_000),
      headers: { authorization, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 500)}`)
    return text ? JSON.parse(text) : undefined
  }

  return {
    api,
    apiUrl,
    call,
    async depth(account) {
      const { items } = await call('GET', '/v1/accounts')
      return items.find(({ id }: { id: string }) => id === account).depth
    },
    async startWorker(preload) {
      const port = await freePort()
      const worker = await start({
        name: `${part}-worker${workers.length || ''}`,
        entry: 'apps/worker/src/main.ts',
        env: { ...env, WORKER_PORT: String(port), WORKER_CONCURRENCY: String(concurrency) },
        ...(preload && { preload }),
        profiled: true,
      })
      workers.push(worker)
      await worker.ready(`http://127.0.0.1:${port}/health/ready`)
      return worker
    },
    async stop() {
      await Promise.all(workers.map((worker) => worker.stop()))
      await api.stop()
    },
  }
}
