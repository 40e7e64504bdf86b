/**
 * A campaign whose processes die at random: nobody gets it twice, nobody is forgotten, and its counts are right at
 * every look.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type CampaignView, feedKey } from '@wa-dispatch/dispatch'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { randomFrom } from '../bench/recipients.ts'
import type { StartedProcess } from '../scripts/processes.ts'
import { callsOf, countsOf, csvOf, type Recipient, type ReportRow, summed } from './campaign-calls.ts'
import { type TestRedis, useRedis } from './redis.ts'
import { allAccounts, type SeenRequest, type Stack, startStack } from './stack.ts'

/** Decides what dies when. */
const SEED = Number(process.env.WA_TEST_SEED ?? 20_261_122)
const ROWS = 50_000
/** Makes it last about a minute. */
const PER_SECOND = 1_000
const TEST_MS = 180_000
/** A test that is not over by then says why. */
const PATIENCE_MS = 160_000
const LOOK_EVERY_MS = 200

/** What the provider does with a message, by how its recipient's number begins. */
const REFUSED = '9197'
const LOST = '9196'
const OTHERS = '9198'

/** While the campaign runs; beside them the API is killed during the first upload, and Redis during the second. */
const KILLS = ['feeder', 'feeder', 'feeder', 'worker', 'worker', 'api', 'api', 'redis'] as const
type Victim = (typeof KILLS)[number]

/** With some whose number is none, and some who were there before. */
function fileOf(part: number): {
  recipients: Recipient[]
  text: string
  rejected: number
  duplicates: number
} {
  const recipients = Array.from({ length: ROWS / 2 }, (_, index): Recipient => {
    const number = part * (ROWS / 2) + index
    const prefix = number % 250 === 7 ? REFUSED : number % 2_000 === 11 ? LOST : OTHERS
    const to = `${prefix}${String(number).padStart(8, '0')}`
    return { to, name: `Person ${number}`, ...(number % 3 === 0 && { reference: `order-${number}` }) }
  })
  const twice = recipients.slice(40, 140)
  const numberless = Array.from({ length: 30 }, (_, index) => ({ to: `none-${index}`, name: 'Nobody' }))
  const lines = [...recipients, ...twice, ...numberless]
  return { recipients, text: csvOf(lines), rejected: numberless.length, duplicates: twice.length }
}

test('a campaign survives ten kills of whatever it runs on', { timeout: TEST_MS }, async (context) => {
  const onEnd = (end: () => Promise<void>) => context.onTestFinished(end, 60_000)
  const random = randomFrom(SEED)
  const began = performance.now()
  const note = (what: string) =>
    console.info(`${((performance.now() - began) / 1_000).toFixed(1)} s: ${what}`)
  note(`the seed is ${SEED}`)
  const redis = await useRedis(onEnd)
  const stack = await startStack({
    redisUrl: redis.url,
    accounts: allAccounts({
      timeoutMs: 3_000,
      rateLimit: { perSecond: PER_SECOND },
      onUncertain: 'hold',
    }).slice(0, 1),
    env: { LOG_LEVEL: 'warn' },
    onEnd,
  })
  await stack.faults(
    { latency: { lognormal: { p50Ms: 15, p99Ms: 120 } } },
    { recipientPrefix: REFUSED, effect: { kind: 'error', name: 'WA400' } },
    { recipientPrefix: LOST, effect: { kind: 'lost-response' } },
    { probability: 0.01, effect: { kind: 'error', name: 'WA500' } },
  )
  const calls = callsOf(stack)
  const house = new House(stack, redis, random, note)
  onEnd(() => house.close())
  await house.open()
  const id = await calls.create({ account: 'kaleyra-in' })
  const watch = new Watch(stack, house, id)
  onEnd(() => watch.close())
  const files = [fileOf(0), fileOf(1)]

  /** Uploads the file slowly, with something happening in the middle of it, and then again under the same key. */
  async function uploadTwice(part: number, happen: () => Promise<void>): Promise<void> {
    const { recipients, text, rejected, duplicates } = files[part]!
    const key = `file-${part}`
    const before = (await calls.read(id)).total
    const bytes = Buffer.from(text)
    const at = Math.floor(bytes.length * (0.3 + 0.4 * random()))
    let happened: Promise<void> | undefined
    async function* slowly() {
      for (let from = 0; from < bytes.length; from += 16_384) {
        if (from >= at) happened ??= happen()
        yield bytes.subarray(from, from + 16_384)
        await sleep(15)
      }
    }
    const broken = await calls.upload(id, slowly(), { key }).catch(() => undefined)
    await happened
    if (broken) expect(broken, JSON.stringify(broken.body)).toMatchObject({ status: 503 })
    const { total } = await calls.read(id)
    expect(total - before, 'rows that were acknowledged').toBeGreaterThanOrEqual(broken?.body.accepted ?? 0)
    expect(total - before, 'rows of a broken upload').toBeLessThan(recipients.length)
    const answer = { accepted: recipients.length, rejected, duplicates }
    for (const replayed of [null, 'true']) {
      const whole = await calls.upload(id, text, { key })
      expect(whole, JSON.stringify(whole.body)).toMatchObject({ status: 200, body: answer })
      expect(whole.headers.get('idempotency-replayed')).toBe(replayed)
      expect((await calls.read(id)).total).toBe(before + recipients.length)
    }
  }

  await uploadTwice(0, () => house.kill('api'))
  await calls.act(id, 'start')
  await uploadTwice(1, () => house.kill('redis'))

  const victims = shuffled(KILLS, random)
  const moments = victims.map(() => 0.1 + 0.8 * random()).sort((a, b) => a - b)
  for (const [index, victim] of victims.entries()) {
    const done = moments[index]! * ROWS
    await watch.until(`${Math.round(done)} rows sent`, (campaign) => answered(campaign) >= done, remaining())
    await house.kill(victim)
    expect(watch.last.state, 'it is over too early for this test').toBe('running')
  }
  expect(house.kills).toBe(10)

  // What nobody knows is decided by what the provider knows.
  const resolved = new Set<string>()
  for (;;) {
    const atRest = ({ state, counts }: CampaignView) =>
      state === 'finished' || Boolean(counts.uncertain && !isMoving(counts))
    const campaign = await watch.until('finished, or waiting for decisions only', atRest, remaining())
    if (campaign.state === 'finished') break
    expect(campaign.waiting_for).toEqual([expect.stringMatching(/^\d+ uncertain/)])
    const taken = new Set(
      (await stack.requests({ accepted: 'true', detail: 'false' })).map(({ reference }) => reference),
    )
    const uncertain = await calls.messages(id, 'uncertain')
    for (const message of uncertain) {
      const as = taken.has(message.id) ? 'submitted' : 'resend'
      await stack.call('POST', `/v1/messages/${message.id}/resolve`, { as })
      resolved.add(message.id)
    }
    note(`decided ${uncertain.length} uncertain ones`)
  }
  note('finished')
  await watch.close()
  expect(watch.problems, 'looks at the campaign while it ran').toEqual([])
  expect(watch.looks).toBeGreaterThan(100)

  const campaign = await calls.read(id)
  const rows = await calls.report(id)
  expect(
    await problemsOf(
      stack,
      files.map(({ recipients }) => recipients),
      rows,
      resolved,
    ),
  ).toEqual([])
  expect(countsOf(rows)).toEqual(campaign.counts)
  expect(campaign).toMatchObject({ total: ROWS, rejected: 60, duplicates: 200, waiting_for: [] })
  const csv = await calls.reportText(id, 'text/csv')
  expect(csv.split('\r\n')).toHaveLength(ROWS + 2)

  function remaining(): number {
    return PATIENCE_MS - (performance.now() - began)
  }
})

const isMoving = ({ queued, scheduled, retrying, sending }: CampaignView['counts']) =>
  Boolean(queued || scheduled || retrying || sending)

/** Those that have an answer, or will get none. */
const answered = ({ counts: { submitted = 0, failed = 0, uncertain = 0 } }: CampaignView) =>
  submitted + failed + uncertain

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  return items
    .map((item) => ({ item, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item)
}

/** The processes, who of them feeds, and their deaths. */
class House {
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
class Watch {
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

const COLUMNS = [
  'line',
  'to',
  'reference',
  'id',
  'request_id',
  'state',
  'code',
  'reason',
  'attempts',
  'updated_at',
  'created_at',
  'first_attempt_at',
  'last_duration_ms',
]

/** Holds the report against the files and the simulator's records. @returns the first few faults, each with its history */
async function problemsOf(
  stack: Stack,
  files: Recipient[][],
  rows: ReportRow[],
  resolved: ReadonlySet<string>,
): Promise<string[]> {
  const arrivals = Map.groupBy(await stack.requests({ detail: 'false' }), ({ reference }) => reference)
  const recipients = files.flat()
  const problems: string[] = []
  if (rows.length !== recipients.length)
    problems.push(`${rows.length} rows for ${recipients.length} recipients`)
  const ids = new Set(rows.map(({ id }) => id))
  if (ids.size !== rows.length) problems.push(`${ids.size} ids for ${rows.length} rows`)
  for (const [reference, [first]] of arrivals)
    if (!ids.has(reference!)) problems.push(`nobody knows ${JSON.stringify(first)}`)
  const taken = [...arrivals.values()].flat().filter(({ accepted }) => accepted)
  for (const [to, requests] of Map.groupBy(taken, ({ recipient }) => recipient))
    if (requests.length > 1)
      problems.push(`${to} got it ${requests.length} times: ${JSON.stringify(requests)}`)

  for (const [index, row] of rows.entries()) {
    const came = arrivals.get(row.id) ?? []
    const faults = faultsOf(row, recipients[index]!, (index % (ROWS / 2)) + 2, came, resolved.has(row.id))
    if (faults.length === 0) continue
    const message = await stack.call('GET', `/v1/messages/${row.id}`)
    problems.push(`${row.to}: ${faults.join(', ')}: ${JSON.stringify({ row, message: message.body, came })}`)
    if (problems.length > 5) break
  }
  return problems.slice(0, 6)
}

/** What is wrong with one row. */
function faultsOf(
  row: ReportRow,
  { to, reference }: Recipient,
  line: number,
  came: SeenRequest[],
  wasResolved: boolean,
): string[] {
  const taken = came.filter(({ accepted }) => accepted)
  const refused = to.startsWith(REFUSED)
  const { created_at: created, first_attempt_at: first, updated_at: updated } = row
  const rules: [boolean, string][] = [
    [Object.keys(row).join() === COLUMNS.join(), 'has other columns'],
    [row.to === to && row.line === line, `is not ${to} of line ${line}`],
    [row.reference === (reference ?? null), `has not the reference ${reference}`],
    [row.state === (refused ? 'failed' : 'submitted'), `is ${row.state}`],
    [taken.length === (refused ? 0 : 1), `was taken ${taken.length} times`],
    [!refused || row.code === 'WA400', `failed with ${row.code}`],
    [row.code !== null && row.reason !== null, 'does not say why'],
    [
      row.request_id === (taken[0]?.requestId ?? null) || (wasResolved && row.request_id === null),
      `has not the request id ${taken[0]?.requestId}`,
    ],
    [row.attempts >= Math.max(1, came.length), `has ${row.attempts} attempts of ${came.length}`],
    [Boolean(created && first && updated && created <= first && first <= updated), 'has strange times'],
  ]
  return rules.filter(([holds]) => !holds).map(([, fault]) => fault)
}
