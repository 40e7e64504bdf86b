/** The worker's composition root. */
import { setMaxListeners } from 'node:events'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  Campaigns,
  ConfigurationError,
  checkFitness,
  connectLanes,
  connectRedis,
  createDeliverer,
  createLane,
  exitOnFault,
  gatherWrites,
  JobEnds,
  Ledger,
  Limiter,
  loadAccounts,
  Mender,
  prepareLane,
  Questions,
  ReceiptQueue,
  ReceiverGuard,
  TotalsWriter,
  whenReady,
} from '@wa-dispatch/dispatch'
import { createHttp, type Provider, providers } from '@wa-dispatch/providers'
import closeWithGrace from 'close-with-grace'
import { pino } from 'pino'
import { readConfig } from './config.ts'
import { closeFeeder, Feeder } from './feeder.ts'
import { FetchWindow } from './fetch-window.ts'
import { buildHealth } from './health.ts'
import { closeLaneWorkers, startLaneWorker } from './lane-worker.ts'
import { createMetrics } from './metrics.ts'
import { POST_BACKS_CLOSE_MS, PostBacks } from './post-backs.ts'
import type { DispatchDependencies } from './process-dispatch.ts'
import { Asker } from './questions.ts'
import { Quickest } from './quickest.ts'
import { Receipts } from './receipts.ts'
import { RecentOutcomes } from './recent-outcomes.ts'
import { Reconciler } from './reconciler.ts'
import { Slots } from './slots.ts'
import { StallWatch } from './stall-watch.ts'
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
// A few lines in one write; what is left is written twice a second, and when the process ends.
const destination = pino.destination({ dest: 1, sync: true, minLength: 4_096, periodicFlush: 500 })
process.on('exit', () => destination.flushSync())
const log = pino({ level: config.logLevel, base: { process: 'worker', pid: process.pid } }, destination)
const redis = connectRedis(config.redisUrl, 'worker', log)
gatherWrites(redis)
const laneRedis = gatherWrites(connectLanes(redis))
const ledger = new Ledger({ redis, retentionDays: config.retentionDays })
const jobEnds = new JobEnds(ledger)
const limiter = new Limiter(redis)
const http = createHttp({ connections: config.concurrency })
const ids = accounts.map(({ id }) => id)
const slots = new Slots(config.concurrency, ids)
const closing = new AbortController()
setMaxListeners(0, closing.signal)
const totals = new TotalsWriter(ledger, redis)
const recent = new RecentOutcomes()
const tellTotals = () => {
  if (redis.status !== 'ready') return
  totals.flush().catch(() => undefined)
  recent.flush(accounts, limiter, log).catch(() => undefined)
  for (const { account, lane, dependencies } of lanes)
    dependencies.window.tend(lane, account, limiter).catch(() => undefined)
}
let stallWatch: StallWatch | undefined
let postBacks: PostBacks | undefined
const { registry, metrics } = createMetrics(ids, totals, {
  inFlight: () => slots.inUse,
  stalled: () => stallWatch?.stalled() ?? [],
  postBacksInFlight: () => postBacks?.inFlight ?? 0,
})

/** A sweep, or feeding, waits for a Redis that is away; the process does not. */
const LAST_SWEEP_MS = 2_000

let open = false
const health = buildHealth(redis, registry, {
  isOpen: () => open,
  reasons: () => stallWatch?.reasons() ?? [],
})

/** Run in reverse order of opening. */
const AFTER_REDIS = 2
const AFTER_HTTP = 4
const closers: (() => unknown)[] = [
  () => redis.disconnect(),
  () => laneRedis.disconnect(),
  () => http.close(),
  () => health.close(),
]
const longestTimeoutMs = Math.max(...accounts.map(({ timeoutMs }) => timeoutMs))
const longestCallMs = Math.max(longestTimeoutMs, POST_BACKS_CLOSE_MS)
closeWithGrace({ delay: longestCallMs + 10_000, logger: log }, async ({ signal, err }) => {
  if (err) log.error({ err: { message: err.message, stack: err.stack } }, 'worker.crashed')
  log.info({ signal, in_flight: slots.inUse }, 'worker.closing')
  open = false
  slots.close()
  closing.abort()
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
  const lane = createLane(account.id, ledger, laneRedis)
  lane.on('error', () => undefined) // what is wrong with Redis is in the log already
  const dependencies: DispatchDependencies = {
    account,
    provider: providers[account.provider as keyof typeof providers] as Provider,
    ledger,
    claimTimes: new Quickest(),
    jobEnds,
    limiter,
    slots,
    http,
    metrics,
    log,
    rest: { since: -1 },
    recent,
    window: new FetchWindow(),
    closing: closing.signal,
    wakeLane: () => lane.removeRateLimitKey(),
  }
  return { account, lane, dependencies, hands: { full: 0, taken: 0 } }
})
for (const { account, lane } of lanes) await prepareLane(lane, account, limiter)
const totalsTimer = setInterval(tellTotals, 1_000)
const workers = lanes.map(({ lane, dependencies, hands }) =>
  startLaneWorker(lane, dependencies, laneRedis, config.concurrency, hands),
)
stallWatch = new StallWatch({
  redis,
  limiter,
  lanes,
  stalledAfterMs: config.stallSeconds * 1_000,
  onHopeless: (reason) => {
    // Uncaught, it ends the process in good order and with exit code 1.
    setImmediate(() => {
      throw new Error(reason)
    })
  },
})
stallWatch.start()
closers.push(() => stallWatch?.close())
closers.push(() => {
  clearInterval(totalsTimer)
  return totals.flush().catch(() => undefined)
})
closers.push(() => closeLaneWorkers(workers, () => slots.idle()))

const campaigns = new Campaigns({ redis, ledger, retentionDays: config.retentionDays })
const mender = new Mender({ ledger, redis, log, attempted: metrics.attempted })
const sweeper = new Sweeper({ ledger, campaigns, limiter, mender, redis, lanes, log })
sweeper.start()
const feeder = new Feeder({ campaigns, ledger, limiter, redis, lanes, log })
feeder.start()
closers.push(() => closeFeeder(feeder, LAST_SWEEP_MS))
closers.push(() => Promise.race([sweeper.close(), sleep(LAST_SWEEP_MS)]))
const receipts = new Receipts({
  queue: new ReceiptQueue(redis, ledger),
  ledger,
  accounts: accounts.flatMap(({ id, provider }) => {
    const read = (providers[provider as keyof typeof providers] as Provider).readReceipts
    return read ? [{ id, read }] : []
  }),
  metrics,
  log,
  consumer: `${hostname()}-${process.pid}-${Date.now().toString(36)}`,
})
receipts.start()
closers.push(() => Promise.race([receipts.close(), sleep(LAST_SWEEP_MS)]))
const questions = new Questions(redis, ledger)
const tools = { ledger, campaigns, mender, questions }
const reconciler = new Reconciler({ ...tools, ...config.reconcile, redis, lanes, log })
reconciler.start()
const asker = new Asker({
  questions,
  ledger,
  limiter,
  http,
  lanes: lanes.flatMap(({ account, lane, dependencies: { provider, rest } }) =>
    provider.askReceipt ? [{ account, lane, ask: provider.askReceipt, rest }] : [],
  ),
  metrics,
  log,
})
asker.start()
// What is under way there ends beside the attempts too.
let looked: Promise<unknown> | undefined
closing.signal.addEventListener('abort', () => {
  const stopped = Promise.race([reconciler.close(), sleep(LAST_SWEEP_MS)])
  looked = Promise.allSettled([asker.close(), stopped])
})
closers.splice(AFTER_HTTP, 0, () => looked)

const { signer, postBackAllow } = config
if (signer) {
  const deliverer = createDeliverer({ guard: new ReceiverGuard(postBackAllow), signer })
  postBacks = new PostBacks({
    accounts: ids,
    outbox: ledger,
    deliverer,
    urlOf: async (account, number) =>
      (await campaigns.readNumber(ledger.numberOf(account), number))?.definition.postBackUrl,
    metrics,
    log,
  })
  postBacks.start()
  // What is under way there ends beside the attempts.
  let ended: Promise<void> | undefined
  closing.signal.addEventListener('abort', () => {
    ended = postBacks?.close().finally(() => deliverer.close())
  })
  closers.splice(AFTER_REDIS, 0, () => ended)
} else {
  const waiting = await Promise.all(ids.map((id) => redis.zcard(ledger.keysOf(id).receivers)))
  if (waiting.some((count) => count > 0))
    log.warn('post_backs.off: callers wait to be told, and this worker has no POST_BACK_SECRET to sign with')
}

// A Redis that comes back may be another one, or have lost its data.
redis.on('ready', async () => {
  const same = await ledger.open(ids).catch(() => true)
  if (same) return
  log.fatal('ledger.moved: the accounts have other numbers in this Redis; the worker has to start anew')
  process.kill(process.pid, 'SIGTERM')
})

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
