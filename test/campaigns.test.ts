/** A campaign as a caller lives through it: from the file of recipients to the report, with everything that can be asked of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { CampaignView } from '@wa-dispatch/dispatch'
import { beforeAll, describe, expect, test } from 'vitest'
import { randomFrom } from '../bench/recipients.ts'
import { share } from '../bench/served.ts'
import {
  type Calls,
  callsOf,
  countsOf,
  csvOf,
  greeting,
  ndjsonOf,
  type Recipient,
  recipientsFrom,
} from './campaign-calls.ts'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'
import { allAccounts, type SeenRequest, type Stack, startStack } from './stack.ts'

/** Each test has an account, and so a lane, of its own. */
const ACCOUNTS = {
  way: { rateLimit: { perSecond: 400 } },
  retried: {},
  timed: {},
  expiring: { rateLimit: { perSecond: 30 } },
  held: { retry: { unavailable: { delaysMs: [4_000] } }, onUncertain: 'hold' },
  ruled: { onUncertain: 'fail', uncertainWindowMs: 500 },
  paused: { rateLimit: { perSecond: 50 } },
  shared: { rateLimit: { perSecond: 100 } },
  large: { rateLimit: { perSecond: 80 } },
} as const
type Account = keyof typeof ACCOUNTS
const NAMES = Object.keys(ACCOUNTS) as Account[]
/** What the simulator knows an account by. */
const senderOf = (account: Account) => String(919_000_000_100 + NAMES.indexOf(account))

const onEnd = endings()
let stack: Stack
let calls: Calls

beforeAll(async () => {
  const [kaleyra] = allAccounts()
  const redis = await useRedis(onEnd)
  stack = await startStack({
    onEnd,
    redisUrl: redis.url,
    accounts: NAMES.map((id) => ({
      ...kaleyra,
      timeoutMs: 5_000,
      id,
      sender: senderOf(id),
      ...ACCOUNTS[id],
    })),
    env: { LOG_LEVEL: 'warn' },
  })
  calls = callsOf(stack)
  await stack.startApi()
  await stack.startWorker()
  await stack.startWorker()
})

const arrivalsOf = (account: Account, filter: Record<string, string> = {}) =>
  stack.requests({ account: senderOf(account), detail: 'false', ...filter })

/** A rule of the simulator's for one account. @returns lifts it */
async function fault(account: Account, rule: Record<string, unknown>): Promise<() => Promise<void>> {
  const { id } = await stack.control('POST', 'faults', { account: senderOf(account), ...rule })
  return () => stack.control('DELETE', `faults/${id}`)
}

const refusedWith = (name: string) => ({ effect: { kind: 'error', name } })
const inFuture = (milliseconds: number) => new Date(Date.now() + milliseconds).toISOString()
const recipientsOf = (requests: readonly SeenRequest[]) => requests.map(({ recipient }) => recipient).sort()
const numbersOf = (recipients: readonly Recipient[]) => recipients.map(({ to }) => to).sort()

/** A refusal of the recipient: it stops no lane. */
const notOnWhatsApp = {
  kind: 'answer',
  status: 400,
  body: { error: { code: 131026, message: 'Message undeliverable' } },
}

describe.concurrent('a campaign', { timeout: 90_000 }, () => {
  test('goes from its files to its report', async () => {
    const fromCsv = recipientsFrom(919_810_000_000, 1_000).map((recipient, index) => ({
      ...recipient,
      reference: `order-${index}`,
    }))
    const fromNdjson = recipientsFrom(919_820_000_000, 1_000)
    const all = [...fromCsv, ...fromNdjson]
    const id = await calls.create({ account: 'way', name: 'spring' })

    const csv = csvOf([...fromCsv.slice(0, 500), { to: 'nobody', name: 'No number' }, ...fromCsv.slice(490)])
    expect(await calls.upload(id, csv)).toMatchObject({
      status: 200,
      body: { accepted: 1_000, rejected: 1, duplicates: 10, errors: [{ line: 502 }] },
    })
    const ndjson = `${ndjsonOf(fromNdjson)}{"to":"919830000000","variables":{}}\n${ndjsonOf(fromCsv.slice(0, 20))}`
    expect(await calls.upload(id, ndjson, { type: 'application/x-ndjson' })).toMatchObject({
      status: 200,
      body: { accepted: 1_000, rejected: 1, duplicates: 20, errors: [{ line: 1_001 }] },
    })

    // The dry run says what will happen, and nothing happens.
    const checked = await stack.call('POST', `/v1/campaigns/${id}/check`)
    expect(checked).toMatchObject({
      status: 200,
      body: {
        total: 2_000,
        duplicates: 30,
        rejected: 2,
        duration_seconds: 5,
        already_reached: 0,
        warnings: [],
      },
    })
    expect(checked.body.examples.map(({ to }: Recipient) => to)).toEqual(
      expect.arrayContaining([all[0]!.to, all.at(-1)!.to]),
    )
    expect(checked.body.examples[0].message.interactive.body.text).toBe(
      'Hello Person 0, does Tuesday suit you?',
    )
    expect(await calls.read(id)).toMatchObject({
      state: 'draft',
      counts: { queued: 2_000 },
      waiting_for: ['to be started', '2000 queued'],
    })
    const drafted = await calls.messages(id, 'queued')
    expect(drafted.map(({ to }) => to)).toEqual(all.map(({ to }) => to))
    expect(await stack.read(drafted[1_999]!.id)).toMatchObject({
      state: 'queued',
      campaign_id: id,
      attempts: [],
    })
    expect(await arrivalsOf('way')).toEqual([])

    expect(await calls.act(id, 'start')).toBe('running')
    const running = await calls.until(id, 'under way at some rate', ({ rate }) => rate > 0)
    expect(running).toMatchObject({ state: 'running', started_at: expect.any(String) })
    expect(Date.parse(running.estimated_end!)).toBeGreaterThan(Date.parse(running.started_at!))
    const finished = await calls.untilFinished(id)
    expect(finished).toMatchObject({ total: 2_000, counts: { submitted: 2_000 }, waiting_for: [] })
    expect(finished.counts).toEqual({ submitted: 2_000 })

    // Everybody got it once, with their own name in it.
    const requests = await stack.requests({ account: senderOf('way') })
    expect(recipientsOf(requests)).toEqual(numbersOf(all))
    for (const { body, recipient } of requests) {
      const { name } = all.find(({ to }) => to === recipient)!
      expect(JSON.stringify(body)).toContain(`Hello ${name}, does`)
    }

    const rows = await calls.report(id)
    expect(countsOf(rows)).toEqual(finished.counts)
    expect(rows.map(({ to, reference }) => [to, reference])).toEqual(
      all.map(({ to, reference }: Recipient) => [to, reference ?? null]),
    )
    const requestIds = new Map(requests.map(({ reference, requestId }) => [reference, requestId]))
    for (const row of rows) {
      expect(row).toMatchObject({ state: 'submitted', code: 'WA202', attempts: 1 })
      expect(row.request_id).toBe(requestIds.get(row.id))
    }
    const lines = (await calls.reportText(id, 'text/csv')).trim().split('\r\n')
    expect(lines.shift()).toMatch(/^line,to,reference,id,request_id,state,code,reason,attempts,updated_at/)
    expect(lines.map((line) => line.split(',').slice(1, 6))).toEqual(
      rows.map(({ to, reference, id, request_id, state }) => [to, reference ?? '', id, request_id, state]),
    )

    // And can be found in every way.
    const sent = await calls.messages(id, 'submitted')
    expect(sent.map(({ id }) => id)).toEqual(rows.map(({ id }) => id))
    expect(await calls.messages(id, 'failed')).toEqual([])
    const { id: messageId, request_id: requestId } = rows[700]!
    for (const query of [`request_id=${requestId}`, 'reference=order-700']) {
      const { body } = await stack.call('GET', `/v1/messages?${query}`)
      expect(body.items, query).toMatchObject([{ id: messageId, campaign_id: id, state: 'submitted' }])
    }
    const listed = await stack.call('GET', '/v1/campaigns?account=way&state=finished')
    expect(listed.body.items).toMatchObject([{ id, name: 'spring' }])
    expect(await calls.upload(id, csvOf(recipientsFrom(919_840_000_000, 1)))).toMatchObject({ status: 409 })
  })

  test('is retried by code, as often as wanted, once the provider is well again', async () => {
    const [poor, refused, fine] = ['919851', '919852', '919853'].map((prefix) =>
      recipientsFrom(Number(prefix) * 1_000_000, 40),
    ) as [Recipient[], Recipient[], Recipient[]]
    const refill = await fault('retried', { recipientPrefix: '919851', effect: notOnWhatsApp })
    const relent = await fault('retried', { recipientPrefix: '919852', ...refusedWith('WA400') })
    const id = await calls.run({ account: 'retried' }, [...poor, ...refused, ...fine])

    const attempts = async () => {
      const rows = await calls.report(id)
      expect(countsOf(rows)).toEqual((await calls.read(id)).counts)
      return rows.map(({ attempts }) => attempts)
    }
    const times = (...attempts: number[]) => attempts.flatMap((count) => Array(40).fill(count))
    expect((await calls.untilFinished(id)).counts).toEqual({ failed: 80, submitted: 40 })
    expect(await attempts()).toEqual(times(1, 1, 1))
    expect((await calls.messages(id, 'failed')).map(({ error }) => error?.code)).toEqual([
      ...Array(40).fill('131026'),
      ...Array(40).fill('WA400'),
    ])

    // Too early: the same again.
    expect(await calls.act(id, 'retry', { codes: ['131026'] })).toBe('running')
    expect((await calls.untilFinished(id)).counts).toEqual({ failed: 80, submitted: 40 })
    expect(await attempts()).toEqual(times(2, 1, 1))

    await refill()
    await calls.act(id, 'retry', { codes: ['131026', 'RBC001'] })
    expect((await calls.untilFinished(id)).counts).toEqual({ failed: 40, submitted: 80 })
    expect(await attempts()).toEqual(times(3, 1, 1))

    await relent()
    await calls.act(id, 'retry', { codes: ['131026'] })
    expect((await calls.untilFinished(id)).counts).toEqual({ failed: 40, submitted: 80 })
    await calls.act(id, 'retry')
    expect((await calls.untilFinished(id)).counts).toEqual({ submitted: 120 })
    expect(await attempts()).toEqual(times(3, 2, 1))

    await calls.act(id, 'retry')
    expect((await calls.untilFinished(id)).counts).toEqual({ submitted: 120 })
    const taken = await arrivalsOf('retried', { accepted: 'true' })
    expect(recipientsOf(taken)).toEqual(numbersOf([...poor, ...refused, ...fine]))
    expect(await arrivalsOf('retried')).toHaveLength(40 * (3 + 2 + 1))
  })

  test('begins at its send_at and not before', async () => {
    const sendAt = inFuture(3_000)
    const recipients = recipientsFrom(919_860_000_000, 50)
    const id = await calls.run({ account: 'timed', send_at: sendAt }, recipients)
    expect(await calls.read(id)).toMatchObject({
      state: 'scheduled',
      counts: { queued: 50 },
      waiting_for: [`its time: ${sendAt}`, '50 queued'],
    })
    await calls.untilFinished(id)
    const arrivals = await arrivalsOf('timed')
    expect(recipientsOf(arrivals)).toEqual(numbersOf(recipients))
    expect(Math.min(...arrivals.map(({ atMs }) => atMs))).toBeGreaterThanOrEqual(Date.parse(sendAt))
  })

  test('sends nothing after its expires_at, and says so of each recipient', async () => {
    const expiresAt = inFuture(5_000)
    const id = await calls.run(
      { account: 'expiring', expires_at: expiresAt },
      recipientsFrom(919_870_000_000, 1_000),
    )
    const { counts } = await calls.untilFinished(id)
    const arrivals = await arrivalsOf('expiring')
    expect(counts).toEqual({ submitted: arrivals.length, expired: 1_000 - arrivals.length })
    expect(arrivals.length).toBeGreaterThan(0)
    // What was in flight may arrive a little later.
    expect(Math.max(...arrivals.map(({ atMs }) => atMs))).toBeLessThan(Date.parse(expiresAt) + 1_000)
    const rows = await calls.report(id)
    expect(countsOf(rows)).toEqual(counts)
    for (const { state, attempts } of rows) expect(attempts).toBe(state === 'expired' ? 0 : 1)
  })

  test('is finished only when every row has its final state, and says what it waits for until then', async () => {
    const recipients = recipientsFrom(919_880_000_000, 20)
    const [retried, lost, lostToo] = recipients as [Recipient, Recipient, Recipient]
    await fault('held', { recipient: retried.to, times: 1, ...refusedWith('WA500') })
    for (const { to } of [lost, lostToo])
      await fault('held', { recipient: to, times: 1, effect: { kind: 'lost-response' } })
    const id = await calls.run({ account: 'held' }, recipients)

    const settled = ({ submitted = 0 }: CampaignView['counts']) => submitted === 17
    const retrying = await calls.until(id, 'waiting for one retry', ({ counts }) => settled(counts))
    expect(retrying.state).toBe('running')
    expect(retrying.waiting_for).toEqual([
      expect.stringMatching(/^1 retry, the last at about \d{4}-\d\d-\d\dT\d\d:\d\dZ$/),
      '2 uncertain: held until their outcome is known or decided',
    ])
    const uncertainOnly = ({ counts }: CampaignView) => counts.submitted === 18
    const waiting = await calls.until(id, 'waiting for decisions only', uncertainOnly)
    expect(waiting.waiting_for).toEqual(['2 uncertain: held until their outcome is known or decided'])
    await sleep(1_000)
    expect(await calls.read(id)).toMatchObject({ state: 'running', counts: { submitted: 18, uncertain: 2 } })

    const decide = async (message: { id: string }, as: string) => {
      expect(await stack.call('POST', `/v1/messages/${message.id}/resolve`, { as })).toMatchObject({
        status: 200,
      })
    }
    const [first, second] = await calls.messages(id, 'uncertain')
    await decide(first!, 'failed')
    await sleep(500)
    expect(await calls.read(id)).toMatchObject({ state: 'running', counts: { failed: 1, uncertain: 1 } })
    await decide(second!, 'submitted')
    const finished = await calls.untilFinished(id)
    expect(finished).toMatchObject({ counts: { submitted: 19, failed: 1 }, waiting_for: [] })
    expect(countsOf(await calls.report(id))).toEqual(finished.counts)
  })

  test("ends by its account's rule where nobody decides", async () => {
    const recipients = recipientsFrom(919_890_000_000, 10)
    await fault('ruled', { recipient: recipients[3]!.to, effect: { kind: 'lost-response' } })
    const id = await calls.run({ account: 'ruled' }, recipients)
    const { counts } = await calls.untilFinished(id)
    expect(counts).toEqual({ submitted: 9, failed: 1 })
    expect(await arrivalsOf('ruled')).toHaveLength(10)
  })

  test('waits while its lane is paused by hand, and says so', async () => {
    const recipients = recipientsFrom(919_900_000_000, 300)
    const id = await calls.run({ account: 'paused' }, recipients)
    await calls.until(id, 'under way', ({ counts }) => (counts.submitted ?? 0) > 20)
    expect(await stack.call('POST', '/v1/accounts/paused/pause')).toMatchObject({ status: 200 })
    const pausedAt = Date.now()
    await sleep(3_000)
    const late = (await arrivalsOf('paused')).filter(({ atMs }) => atMs > pausedAt + 1_000)
    expect(late).toEqual([])
    const paused = await calls.read(id)
    expect(paused).toMatchObject({ state: 'running' })
    expect(paused.waiting_for).toContain('the lane of paused to be resumed: it is paused')
    expect(paused.counts.queued).toBeGreaterThan(0)
    expect(paused).not.toHaveProperty('estimated_end')

    await stack.call('POST', '/v1/accounts/paused/resume')
    expect((await calls.untilFinished(id)).counts).toEqual({ submitted: 300 })
    expect(recipientsOf(await arrivalsOf('paused'))).toEqual(numbersOf(recipients))
  })

  test('of weight 2 is served twice as often as one of weight 1 beside it', async ({ expect }) => {
    const WINDOW_MS = 20_000
    const start = (weight: number, from: number) =>
      calls.run({ account: 'shared', weight }, recipientsFrom(from, 6_000))
    const ids = await Promise.all([start(2, 919_910_000_000), start(1, 919_920_000_000)])
    const times = async () => {
      const all = await arrivalsOf('shared')
      const of = (prefix: string) =>
        all.filter(({ recipient }) => recipient!.startsWith(prefix)).map(({ atMs }) => atMs)
      return [of('91991'), of('91992')] as const
    }
    // Whoever started first may have had the lane for itself at first.
    let beginsAt = Number.NaN
    const served = async () => {
      const [first, second] = await times()
      beginsAt = Math.max(first[0] ?? Number.NaN, second[0] ?? Number.NaN)
      return Math.min(first.at(-1) ?? 0, second.at(-1) ?? 0) - beginsAt
    }
    const deadline = performance.now() + 60_000
    while (!((await served()) > WINDOW_MS + 3_000)) {
      expect(performance.now(), 'both are served for a while').toBeLessThan(deadline)
      await sleep(500)
    }
    const [first, second] = await times()
    for (const windowAt of [0, 1_000, 2_000, 3_000].map((after) => beginsAt + after)) {
      const within = (arrivals: number[]) =>
        arrivals.filter((atMs) => atMs >= windowAt && atMs < windowAt + WINDOW_MS).length
      const ratio = within(first) / within(second)
      expect(ratio, `${within(first)} to ${within(second)}`).toBeGreaterThan(2 * 0.95)
      expect(ratio, `${within(first)} to ${within(second)}`).toBeLessThan(2 * 1.05)
    }
    for (const id of ids) await calls.act(id, 'cancel')
  })
})

describe('while a campaign of 300,000 runs at 80 a second', { timeout: 120_000 }, () => {
  const ROWS = 300_000
  const random = randomFrom(80)
  let id: string
  const arrivals = async () =>
    (await arrivalsOf('large')).filter(({ recipient }) => recipient!.startsWith('9193'))
  const single = (index: number) => ({
    account: 'large',
    to: String(919_400_000_000 + index),
    message: greeting,
  })

  beforeAll(async () => {
    id = await calls.run({ account: 'large' }, recipientsFrom(919_300_000_000, ROWS))
    await calls.until(id, 'under way', ({ counts }) => (counts.submitted ?? 0) > 100)
  }, 120_000)

  let sent = 0
  /** @returns for how long each of so many messages was on its way, in ms, in ascending order */
  async function measure(count: number): Promise<number[]> {
    const accepted = new Map<string, number>()
    for (let index = 0; index < count; index++) {
      await sleep(200 * random())
      accepted.set(await stack.send(single(sent++)), Date.now())
    }
    const arrived = async () =>
      (await arrivalsOf('large')).filter(({ reference }) => accepted.has(reference!))
    await expect.poll(async () => (await arrived()).length).toBe(count)
    const waits = (await arrived()).map(({ reference, atMs }) =>
      Math.max(0, atMs - accepted.get(reference!)!),
    )
    return waits.sort((a, b) => a - b)
  }

  test('99 of 100 transactional messages leave within 250 ms of their acceptance', async () => {
    let waitsMs = await measure(100)
    // Another process may have had the machine for a while, and of a hundred two are enough: of more, chance decides less.
    if (share(waitsMs, 0.99) > 250) waitsMs = await measure(300)
    expect(share(waitsMs, 0.99), waitsMs.map(Math.round).join()).toBeLessThanOrEqual(250)
    expect((await calls.read(id)).counts.queued).toBeGreaterThan(ROWS / 2)
  })

  test('pausing it is felt within a second, by it alone', async () => {
    for (let round = 0; round < 2; round++) {
      expect(await calls.act(id, 'pause')).toBe('paused')
      const pausedAt = Date.now()
      await sleep(2_000)
      const other = await stack.send(single(1_000 + round))
      await stack.until(other, ['submitted'])
      await sleep(1_000)
      const all = await arrivals()
      expect(all.filter(({ atMs }) => atMs > pausedAt + 1_000)).toEqual([])
      const campaign = await calls.read(id)
      expect(campaign.counts).toEqual({ queued: ROWS - all.length, submitted: all.length })
      expect(campaign.waiting_for).toContain('to be resumed: it is paused')

      expect(await calls.act(id, 'resume')).toBe('running')
      await expect
        .poll(async () => (await arrivals()).length, { timeout: 20_000 })
        .toBeGreaterThan(all.length + 50)
    }
  })

  test('cancelling it is felt within a second, and its report says of each recipient what became of it', async () => {
    expect(await calls.act(id, 'cancel')).toBe('cancelled')
    const cancelledAt = Date.now()
    await sleep(3_000)
    const all = await arrivals()
    expect(all.filter(({ atMs }) => atMs > cancelledAt + 1_000)).toEqual([])
    expect(new Set(recipientsOf(all)).size).toBe(all.length)
    const { counts } = await calls.until(id, 'at rest', ({ waiting_for }) => waiting_for.length === 0)
    expect(counts).toEqual({ submitted: all.length, cancelled: ROWS - all.length })
    const rows = await calls.report(id)
    expect(rows).toHaveLength(ROWS)
    expect(countsOf(rows)).toEqual(counts)
    expect(await stack.call('POST', `/v1/campaigns/${id}/resume`)).toMatchObject({ status: 409 })
  })
})
