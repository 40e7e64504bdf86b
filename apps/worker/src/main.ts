/** The worker's composition root. */
import {
  ConfigurationError,
  checkFitness,
  connectRedis,
  createLane,
  createLimiter,
  exitOnFault,
  Ledger,
  loadAccounts,
  TotalsWriter,
  whenReady,
} from '@wa-dispatch/dispatch'
import { createHttp, type Provider, providers } from '@wa-dispatch/providers'
import closeWithGrace from 'close-with-grace'
import { pino } from 'pino'
import { readConfig } from './config.ts'
import { buildHealth } from './health.ts'
import { closeLaneWorkers, prepareLane, startLaneWorker } from './lane-worker.ts'
import { createMetrics } from './metrics.ts'
import type { DispatchDependencies } from './process-dispatch.ts'
import { Slots } from './slots.ts'
import { Sweeper } from './sweeper.ts'

function configure() {
  try {
    const config = readConfig(process.env)
    return { config, accounts: loadAccounts(config.accountsFile, process.env) }
  } catch (error) {
    return exitOnFault(error)
  }
}

const { config, accounts } = configure()
const log = pino({ level: config.logLevel, base: { service: 'worker', pid: process.pid } })
const redis = connectRedis(config.redisUrl, 'worker', log)
const ledger = new Ledger({ redis, retentionDays: config.retentionDays })
const limiter = createLimiter(redis)
const http = createHttp({ connections: config.concurrency })
const ids = accounts.map(({ id }) => id)
const slots = new Slots(config.concurrency, ids)
const totals = new TotalsWriter(ledger, redis)
const totalsTimer = setInterval(() => totals.flush().catch(() => undefined), 1_000)
const { registry, metrics } = createMetrics(ids, totals, () => slots.inUse)

let open = false
const health = buildHealth(redis, registry, () => open)

/** Run in reverse order of opening. */
const closers: (() => unknown)[] = [() => redis.disconnect(), () => http.close(), () => health.close()]
const longestTimeoutMs = Math.max(...accounts.map(({ timeoutMs }) => timeoutMs))
closeWithGrace({ delay: longestTimeoutMs + 10_000, logger: log }, async ({ signal, err }) => {
  if (err) log.error({ err: { message: err.message, stack: err.stack } }, 'worker.crashed')
  log.info({ signal, in_flight: slots.inUse }, 'worker.closing')
  open = false
  for (const close of closers.reverse()) await close()
  log.info('worker.closed')
})

try {
  await health.listen({ host: config.host, port: config.port })
} catch (error) {
  const { message } = error as Error
  exitOnFault(
    new ConfigurationError([`WORKER_PORT: cannot listen on ${config.host}:${config.port}: ${message}`]),
  )
}
await untilRedisIsThere()
await ledger.open(ids)
const { unsafe, unknown } = await checkFitness(redis)
for (const reason of [...unsafe, ...unknown]) log.warn({ reason }, 'redis.unsafe')

const lanes = accounts.map((account) => {
  const lane = createLane(account.id, ledger, redis)
  lane.on('error', () => undefined) // what is wrong with Redis is in the log already
  const dependencies: DispatchDependencies = {
    account,
    limiterKey: ledger.keysOf(account.id).limiter,
    provider: providers[account.provider as keyof typeof providers] as Provider,
    ledger,
    limiter,
    slots,
    http,
    metrics,
    log,
  }
  return { account, lane, dependencies }
})
for (const { lane, dependencies } of lanes) await prepareLane(lane, dependencies)
const workers = lanes.map(({ lane, dependencies }) =>
  startLaneWorker(lane, dependencies, redis, config.concurrency),
)
closers.push(() => {
  clearInterval(totalsTimer)
  return totals.flush().catch(() => undefined)
})
closers.push(() => closeLaneWorkers(workers, () => slots.idle()))

const sweeper = new Sweeper({ ledger, redis, lanes, log })
sweeper.start()
closers.push(() => sweeper.close())

open = true
log.info({ accounts: ids, concurrency: config.concurrency, address: health.server.address() }, 'worker.ready')

async function untilRedisIsThere(): Promise<void> {
  for (;;) {
    try {
      return await whenReady(redis, 10_000)
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'worker.waiting_for_redis')
    }
  }
}
