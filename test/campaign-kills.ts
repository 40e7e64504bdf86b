/** The processes that a campaign runs on, their deaths, and somebody who looks at the campaign all the while. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type CampaignView, feedKey } from '@wa-dispatch/dispatch'
import { Redis } from 'ioredis'
import { expect } from 'vitest'
import type { StartedProcess } from '../scripts/processes.ts'
import { summed } from './campaign-calls.ts'
import type { TestRedis } from './redis.ts'
import type { Stack } from './stack.ts'

export type Victim = 'feeder' | 'worker' | 'api' | 'redis'

const LOOK_EVERY_MS = 200

/** The processes, who of them feeds, and their deaths. */
export class House {
  kills = 0
  /** Grows with every kill after which the API cannot answer, and again when it can. */
  outages = 0
  away = false
  changedAt = performance.now()
  readonly #stack: Stack
  readonly #redis: TestRedis
  readonly #random: () => number
  readonly #note: (what: string) => void
  readonly #connection: Redis
  #api: StartedProcess | undefined
  /** Each names itself by a token where the feeder is named; known of all who have fed. */
  #workers: { process: StartedProcess; token?: string }[] = []
  readonly #deadTokens = new Set<string>()
  readonly #deaths: Record<Victim, () => Promise<void>> = {
    feeder: () => this.#killFeeder(),
    worker: () => this.#killWorker(),
    api: () => this.#killApi(),
    redis: () => this.#killRedis(),
  }

  constructor(stack: Stack, redis: TestRedis, random: () => number, note: (what: string) => void) {
    this.#stack = stack
    this.#redis = redis
    this.#random = random
    this.#note = note
    this.#connection = new Redis(redis.url, { maxRetriesPerRequest: null })
    this.#connection.on('error', () => undefined) // it is killed on purpose
  }

  async open(): Promise<void> {
    this.#api = await this.#stack.startApi()
    this.#workers.push({ process: await this.#stack.startWorker() })
    await this.#feeder()
    this.#workers.push({ process: await this.#stack.startWorker() })
  }

  async close(): Promise<void> {
    this.#connection.disconnect()
  }

  /** What the processes that live have logged last. */
  lastWords(): string[] {
    const living = [this.#api!, ...this.#workers.map(({ process }) => process)]
    return living.map(({ name, pid, output }) => `${name} ${pid}:\n${output().slice(-2_000)}`)
  }

  /** SIGKILL, and back again after a while. */
  async kill(victim: Victim): Promise<void> {
    this.kills++
    this.#note(`kill ${this.kills}: ${victim}`)
    await this.#deaths[victim]()
  }

  async #killApi(): Promise<void> {
    await this.#outage(async () => {
      await this.#stack.kill(this.#api!)
      await this.#pause()
      this.#api = await this.#stack.startApi()
    })
  }

  async #killRedis(): Promise<void> {
    await this.#outage(async () => {
      await this.#redis.kill()
      await this.#pause()
      await this.#redis.start()
      await this.#api!.ready(`${this.#stack.apiUrl}/health/ready`)
    })
  }

  async #killFeeder(): Promise<void> {
    const feeder = await this.#feeder()
    await this.#end(feeder)
    const diedAt = performance.now()
    // Who takes over is known before there is another who could.
    await this.#feeder()
    this.#note(`another feeds after ${Math.round(performance.now() - diedAt)} ms`)
    await this.#pause()
    this.#workers.push({ process: await this.#stack.startWorker() })
  }

  async #killWorker(): Promise<void> {
    const feeder = await this.#feeder()
    await this.#end(this.#workers.find((worker) => worker !== feeder)!)
    await this.#pause()
    this.#workers.push({ process: await this.#stack.startWorker() })
  }

  async #outage(during: () => Promise<void>): Promise<void> {
    this.away = true
    this.outages++
    await during()
    this.away = false
    this.outages++
    this.changedAt = performance.now()
  }

  #pause(): Promise<void> {
    return sleep(200 + 1_300 * this.#random())
  }

  async #end(worker: { process: StartedProcess; token?: string }): Promise<void> {
    if (worker.token) this.#deadTokens.add(worker.token)
    this.#workers = this.#workers.filter((other) => other !== worker)
    await this.#stack.kill(worker.process)
  }

  /** Who feeds now. At most one worker's token is not known yet. */
  async #feeder(): Promise<{ process: StartedProcess; token?: string }> {
    for (const deadline = performance.now() + 20_000; ; await sleep(50)) {
      const token = await this.#connection.get(feedKey)
      if (token && !this.#deadTokens.has(token)) {
        const known = this.#workers.find((worker) => worker.token === token)
        if (known) return known
        const unknown = this.#workers.filter((worker) => !worker.token)
        expect(unknown, 'workers that have never fed').toHaveLength(1)
        unknown[0]!.token = token
        return unknown[0]!
      }
      if (performance.now() > deadline) throw new Error('nobody feeds')
    }
  }
}

/** Looks at the campaign all the time. */
export class Watch {
  looks = 0
  readonly problems: string[] = []
  #last: CampaignView | undefined
  #closed = false
  readonly #running: Promise<void>
  readonly #house: House

  constructor(stack: Stack, house: House, id: string) {
    this.#house = house
    this.#running = this.#watch(stack, house, `/v1/campaigns/${id}`)
  }

  get last(): CampaignView {
    return this.#last!
  }

  async until(
    what: string,
    wanted: (campaign: CampaignView) => boolean,
    timeoutMs: number,
  ): Promise<CampaignView> {
    const from = this.looks
    for (const deadline = performance.now() + timeoutMs; ; await sleep(20)) {
      if (this.looks > from && wanted(this.last)) return this.last
      if (performance.now() > deadline) {
        const { message: _, ...shown } = this.last
        const seen = [`not ${what}: ${JSON.stringify(shown)}`, ...this.problems, ...this.#house.lastWords()]
        throw new Error(seen.join('\n'))
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #watch(stack: Stack, house: House, path: string): Promise<void> {
    for (; !this.#closed; await sleep(LOOK_EVERY_MS)) {
      const { away, outages } = house
      const askedAt = performance.now()
      const answer = await stack.call<CampaignView>('GET', path).catch((error: Error) => error)
      if (!(answer instanceof Error) && answer.status === 200) {
        this.#look(answer.body)
        continue
      }
      const excused = away || outages !== house.outages
      if (excused && (answer instanceof Error || answer.status === 503)) continue
      const text = answer instanceof Error ? String(answer) : JSON.stringify(answer)
      const [tookMs, sinceMs] = [askedAt, house.changedAt].map((at) => Math.round(performance.now() - at))
      this.problems.push(`no answer after ${tookMs} ms, ${sinceMs} ms after all was well again: ${text}`)
    }
  }

  #look(campaign: CampaignView): void {
    const { counts, total } = campaign
    const before = this.#last
    const shown = `${JSON.stringify(counts)} of ${total}`
    if (summed(campaign) !== total) this.problems.push(`does not add up: ${shown}`)
    if (before && total < before.total) this.problems.push(`had ${before.total} rows, and has ${shown}`)
    for (const state of ['submitted', 'failed'] as const)
      if ((counts[state] ?? 0) < (before?.counts[state] ?? 0))
        this.problems.push(`had ${JSON.stringify(before?.counts)}, and has ${shown}`)
    this.#last = campaign
    this.looks++
  }
}
