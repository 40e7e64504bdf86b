/**
 * Receipts while messages go out: the simulator tells of each message three times, from the moment it took it, and all
 * of it goes through one API process and one worker.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type HistogramTotals, Ledger, parseMessageId, ReceiptQueue, readTotals } from '@wa-dispatch/dispatch'
import { until } from './campaigns.ts'
import { authorization } from './deployment.ts'
import { account, message } from './given.ts'
import type { House } from './house.ts'
import { cpuSecondsOf, machineCpuSeconds, readRedis } from './meters.ts'
import { type Answered, paced } from './paced.ts'
import { share } from './served.ts'
import { control, sentReceipts } from './simulator.ts'
import { type SlowCommands, watchSlowCommands } from './slow-commands.ts'

/** How many cores each was busy with, on average; the machine: all of it, with what else runs there. */
export type Cores = Record<
  'api' | 'worker' | 'redis' | 'simulator' | 'caller' | 'machine',
  number | undefined
>

export interface Receipts {
  messages: number
  /** Accepted through the API, over the whole time. */
  messagesPerSecond: number
  receipts: number
  /** Acknowledged, in the midst; over all of it where that was too short for a midst. */
  receiptsPerSecond: number
  /** The same of the slowest second in the midst. */
  slowestSecond: number | undefined
  /** Of a receipt until it was answered, in whole ms. */
  acknowledgedMs: { p50: number; p99: number; max: number }
  /** Of a message until it was answered, in ms, in ascending order. */
  acceptedMs: number[]
  /** From the arrival of a receipt to its being applied. */
  applied: HistogramTotals
  /** From the last acknowledgement until all were applied. */
  lastAppliedMs: number
  /** Most entries that waited to be applied when it was looked. */
  mostWaiting: number
  cores: Cores
  slow: SlowCommands
}

export interface ReceiptsOptions {
  seconds: number
  perSecond: number
  log: (line: string) => void
}

const TOKEN = 'a-receipt-token'
const told = { ...account, receiptToken: TOKEN }
const statuses = ['sent', 'delivered', 'read']
export const RECEIPTS_PER_MESSAGE = statuses.length
const WARM_UP_SECONDS = 5
/** Messages that are read at the same time when all is compared. */
const READ_TOGETHER = 200

export async function measureReceipts(house: House, options: ReceiptsOptions): Promise<Receipts> {
  const { redis, simulatorUrl, simulator } = house
  const { seconds, perSecond, log } = options
  const deployment = await house.deploy('receipts', [told])
  try {
    const worker = await deployment.startWorker()
    const ledger = new Ledger({ redis, retentionDays: 7 })
    await ledger.open([told.id])
    const queue = new ReceiptQueue(redis, ledger)
    await control(simulatorUrl, 'PUT', `accounts/kaleyra/${told.sender}`, {
      receiptUrl: `${deployment.apiUrl}/v1/receipts/${told.id}`,
      receiptToken: TOKEN,
    })
    await control(simulatorUrl, 'PUT', 'receipt-rules', {
      rules: [{ statuses, delay: { lognormal: { p50Ms: 100, p99Ms: 500 } }, order: 'shuffled' }],
    })
    // Whoever waits for a free connection would not be seen waiting.
    await control(simulatorUrl, 'PUT', 'receipt-sender', { inFlight: 5_000 })
    let recipient = 919_000_000_000
    const send = (forSeconds: number) =>
      paced({
        url: `${deployment.apiUrl}/v1/messages`,
        headers: { authorization },
        perSecond,
        seconds: forSeconds,
        body: () => JSON.stringify({ account: told.id, to: String(recipient++), message }),
      })
    /** @returns milliseconds from the last acknowledgement until all were applied */
    const applied = async (): Promise<number> => {
      await until('acknowledged', async () => {
        const { pending, 'given-up': givenUp } = await control(simulatorUrl, 'GET', 'receipts/summary')
        if (givenUp > 0) throw new Error(`${givenUp} receipts were not acknowledged`)
        return pending === 0
      })
      const from = performance.now()
      await until('applied', async () => (await queue.depth(told.id)) === 0, 5)
      return performance.now() - from
    }

    await send(Math.min(WARM_UP_SECONDS, seconds))
    await allSent(simulatorUrl, perSecond * Math.min(WARM_UP_SECONDS, seconds))
    await applied()
    await sleep(1_500) // the worker's totals are written once a second
    for (const what of ['requests', 'receipts']) await control(simulatorUrl, 'DELETE', what)
    const before = (await readTotals(ledger, redis, told.id)).receipt

    const slowCommands = await watchSlowCommands(redis)
    const cores = await startCores()
    let mostWaiting = 0
    const watching = setInterval(async () => {
      mostWaiting = Math.max(mostWaiting, await queue.depth(told.id).catch(() => 0))
    }, 250)
    const accepted = await send(seconds).finally(() => clearInterval(watching))
    const busy = await cores()
    const slow = await slowCommands()
    await allSent(simulatorUrl, accepted.answers.length)
    const lastAppliedMs = await applied()
    const summary = await control(simulatorUrl, 'GET', 'receipts/summary')
    const rate = await compare(ledger, simulatorUrl, accepted)
    await sleep(1_500)
    const delays = between(before, (await readTotals(ledger, redis, told.id)).receipt)
    if (delays.count < rate.receipts)
      throw new Error(`${rate.receipts} receipts were acknowledged, ${delays.count} applied`)
    const result: Receipts = {
      ...rate,
      messages: accepted.answers.length,
      messagesPerSecond: accepted.answers.length / accepted.seconds,
      acknowledgedMs: summary.answerMs,
      acceptedMs: accepted.waitsMs,
      applied: delays,
      lastAppliedMs,
      mostWaiting,
      cores: busy,
      slow,
    }
    log(
      `receipts: ${Math.round(rate.receiptsPerSecond)} a second beside ${Math.round(result.messagesPerSecond)} messages, ` +
        `99 % acknowledged within ${summary.answerMs.p99} ms, all applied ${Math.round(lastAppliedMs)} ms after the last; ` +
        `messages accepted within ${Math.round(share(accepted.waitsMs, 0.99))} ms; at most ${mostWaiting} lots waited; cores ${JSON.stringify(busy)}`,
    )
    return result

    async function startCores(): Promise<() => Promise<Cores>> {
      const read = async () => ({
        api: cpuSecondsOf(deployment.api.pid),
        worker: cpuSecondsOf(worker.pid),
        redis: (await readRedis(redis)).cpuSeconds,
        simulator: cpuSecondsOf(simulator.pid),
        caller: cpuSecondsOf(process.pid),
        machine: machineCpuSeconds(),
      })
      const from = performance.now()
      const first = await read()
      return async () => {
        const last = await read()
        const lasted = (performance.now() - from) / 1_000
        const names = Object.keys(first) as (keyof Cores)[]
        const busy = names.map((name) => [
          name,
          first[name] === undefined || last[name] === undefined
            ? undefined
            : Math.round(((last[name] - first[name]) / lasted) * 100) / 100,
        ])
        return Object.fromEntries(busy) as Cores
      }
    }
  } finally {
    await control(simulatorUrl, 'POST', 'reset').catch(() => undefined)
    await deployment.stop()
  }
}

/** Waits until so many messages have come to the simulator. */
async function allSent(simulatorUrl: string, count: number): Promise<void> {
  await until('all sent', async () => {
    const { accepted } = await control(simulatorUrl, 'GET', 'summary')
    return accepted >= count
  })
}

/**
 * Holds what the simulator told against what the ledger says.
 * @throws when a receipt that was acknowledged is missing, or there is one that was not told
 */
async function compare(
  ledger: Ledger,
  simulatorUrl: string,
  { answers }: Answered,
): Promise<Pick<Receipts, 'receipts' | 'receiptsPerSecond' | 'slowestSecond'>> {
  const toldOf = new Map<string, string[]>()
  const perSecond = new Map<number, number>()
  let receipts = 0
  let first = Number.POSITIVE_INFINITY
  let last = 0
  for await (const { reference, status, state, answeredAtMs } of sentReceipts(simulatorUrl)) {
    if (state !== 'acknowledged' || answeredAtMs === null) throw new Error(`a receipt is ${state}`)
    receipts++
    toldOf.set(reference, [...(toldOf.get(reference) ?? []), status])
    first = Math.min(first, answeredAtMs)
    last = Math.max(last, answeredAtMs)
    const second = Math.floor(answeredAtMs / 1_000)
    perSecond.set(second, (perSecond.get(second) ?? 0) + 1)
  }
  const ids = answers.map((answer) => (JSON.parse(answer) as { id: string }).id)
  if (receipts !== ids.length * statuses.length)
    throw new Error(`of ${ids.length} messages ${receipts} receipts were told`)
  for (let from = 0; from < ids.length; from += READ_TOGETHER) {
    const some = ids.slice(from, from + READ_TOGETHER)
    const found = await Promise.all(some.map((id) => ledger.read(parseMessageId(id)!)))
    for (const [index, record] of found.entries()) {
      const heard = record?.receipts.map(({ status }) => status).sort()
      const was = toldOf.get(some[index]!)?.sort()
      if (record?.state !== 'read' || String(heard) !== String(was))
        throw new Error(`${some[index]} is ${record?.state} by ${heard}, and was told ${was}`)
    }
  }
  // At its beginning and end there are fewer: not all messages are told of at the same time.
  const full = [...perSecond].filter(
    ([second]) => second * 1_000 >= first + 4_000 && second * 1_000 <= last - 5_000,
  )
  return {
    receipts,
    receiptsPerSecond:
      full.length > 0
        ? full.reduce((sum, [, count]) => sum + count, 0) / full.length
        : receipts / Math.max(1, (last - first) / 1_000),
    slowestSecond: full.length > 0 ? Math.min(...full.map(([, count]) => count)) : undefined,
  }
}

function between(before: HistogramTotals, after: HistogramTotals): HistogramTotals {
  const earlier = new Map(before.buckets.map(({ upTo, count }) => [upTo, count]))
  return {
    buckets: after.buckets.map(({ upTo, count }) => ({ upTo, count: count - (earlier.get(upTo) ?? 0) })),
    sum: after.sum - before.sum,
    count: after.count - before.count,
  }
}
