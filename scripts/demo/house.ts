import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDir } from '../checkout.ts'
import { freePort, type StartedProcess, startProcess } from '../processes.ts'
import { acquireRedis } from '../redis.ts'

/** What every process writes: `<name>.log` of the newest run. */
export const logDir = join(cacheDir, 'demo')

export interface House {
  apiUrl: string
  simulatorUrl: string
  /** May do everything. */
  key: string
  /** Where the Redis comes from, for people. */
  redis: string
  /** Rejects when a process ends by itself; never resolves. */
  broken: Promise<never>
}

/** Things to end, in the order in which they were opened. */
export type Closers = (() => Promise<unknown>)[]

/**
 * Starts Redis, simulator, API and one worker on free ports, and waits until all are ready. What was started is
 * in `closers` from the moment it runs, also when this throws half-way, as it does when `signal` aborts.
 * @param options.stays whether people will come to it: then it has the README's addresses, if they are free, and its key
 */
export async function startHouse(
  closers: Closers,
  signal: AbortSignal,
  { stays, postBackSecret }: { stays: boolean; postBackSecret: string },
): Promise<House> {
  const redis = await acquireRedis({ log: (line) => console.log(line) })
  closers.push(() => redis.stop())
  signal.throwIfAborted()
  const simulatorPort = await freePort(stays ? 3100 : undefined)
  const apiPort = await freePort(stays ? 3000 : undefined)
  const workerPort = await freePort(stays ? 3001 : undefined)
  const simulatorUrl = `http://127.0.0.1:${simulatorPort}`
  const apiUrl = `http://127.0.0.1:${apiPort}`
  const key = stays ? 'wa-demo-key' : `demo-${randomBytes(12).toString('base64url')}`
  const env = {
    // Whatever is set for the user's own processes is not meant for these.
    API_HOST: undefined,
    API_RATE_LIMIT: undefined,
    WORKER_HOST: undefined,
    SIMULATOR_HOST: undefined,
    AUTH: undefined,
    WORKER_CONCURRENCY: undefined,
    RETENTION_DAYS: '1',
    LOG_LEVEL: 'info',
    REDIS_URL: redis.url,
    ACCOUNTS_FILE: 'examples/demo-accounts.json',
    SIMULATOR_CONFIG: 'examples/demo-simulator.json',
    SIMULATOR_URL: simulatorUrl,
    SIMULATOR_PORT: String(simulatorPort),
    API_PORT: String(apiPort),
    API_KEYS: `demo:${createHash('sha256').update(key).digest('hex')}:send+read+admin`,
    WORKER_PORT: String(workerPort),
    ZIXFLOW_RECEIPT_URL: `${apiUrl}/v1/receipts/demo-zixflow`,
    // The caller is on this machine.
    POST_BACK_SECRET: postBackSecret,
    POST_BACK_ALLOW: '127.0.0.1',
  }
  mkdirSync(logDir, { recursive: true })
  const processes: StartedProcess[] = []

  /** What listens on `port` of a name is up when `path` answers. */
  async function start(name: 'simulator' | 'api' | 'worker', readyUrl: string): Promise<void> {
    const file = createWriteStream(join(logDir, `${name}.log`))
    signal.throwIfAborted()
    const process = await startProcess({
      name,
      entry: `apps/${name}/src/main.ts`,
      env,
      onOutput: (text) => file.write(text),
    })
    processes.push(process)
    closers.push(async () => {
      await process.stop({ timeoutMs: 20_000 })
      file.end()
    })
    await process.ready(readyUrl)
  }
  // At once, because each takes a second to start; the API needs no worker, and the worker no API.
  const started = await Promise.allSettled([
    start('simulator', `${simulatorUrl}/health/live`),
    start('api', `${apiUrl}/health/ready`),
    start('worker', `http://127.0.0.1:${workerPort}/health/ready`),
  ])
  for (const result of started) if (result.status === 'rejected') throw result.reason

  let isClosing = false
  closers.push(async () => {
    isClosing = true
  })
  const broken = Promise.race(
    processes.map(async (process): Promise<never> => {
      const { code, signal } = await process.exited
      // Being ended is no fault.
      if (isClosing) return new Promise<never>(() => undefined)
      const tail = process.output().trimEnd().split('\n').slice(-5).join('\n')
      throw new Error(`${process.name} ended by itself (${code ?? signal}):\n${tail}`)
    }),
  )
  broken.catch(() => undefined)
  return { apiUrl, simulatorUrl, key, redis: redis.how, broken }
}

/** Ends everything, last opened first; what cannot be ended in good order is told and goes with this process. */
export async function closeHouse(closers: Closers): Promise<void> {
  for (let close = closers.pop(); close; close = closers.pop()) {
    try {
      await close()
    } catch (error) {
      console.error((error as Error).message)
    }
  }
}
