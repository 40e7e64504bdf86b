/**
 * A campaign whose processes die at random: nobody gets it twice, nobody is forgotten, and its counts are right at
 * every look.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { CampaignView } from '@wa-dispatch/dispatch'
import { expect, test } from 'vitest'
import { randomFrom } from '../bench/recipients.ts'
import { callsOf, countsOf, csvOf } from './campaign-calls.ts'
import { House, type Victim, Watch } from './campaign-kills.ts'
import { type Expected, untruthsOf } from './campaign-truth.ts'
import { useRedis } from './redis.ts'
import { allAccounts, startStack } from './stack.ts'

/** Decides what dies when. */
const SEED = Number(process.env.WA_TEST_SEED ?? 20_261_122)
const ROWS = 50_000
/** Makes it last about a minute. */
const PER_SECOND = 1_000
const TEST_MS = 180_000
/** A test that is not over by then says why. */
const PATIENCE_MS = 160_000

/** What the provider does with a message, by how its recipient's number begins. */
const REFUSED = '9197'
const LOST = '9196'
const OTHERS = '9198'

/** While the campaign runs; beside them the API is killed during the first upload, and Redis during the second. */
const KILLS: Victim[] = ['feeder', 'feeder', 'feeder', 'worker', 'worker', 'api', 'api', 'redis']

/** With some whose number is none, and some who were there before. */
function fileOf(part: number): {
  recipients: Expected[]
  text: string
  rejected: number
  duplicates: number
} {
  const recipients = Array.from({ length: ROWS / 2 }, (_, index): Expected => {
    const number = part * (ROWS / 2) + index
    const prefix = number % 250 === 7 ? REFUSED : number % 2_000 === 11 ? LOST : OTHERS
    const to = `${prefix}${String(number).padStart(8, '0')}`
    return {
      to,
      name: `Person ${number}`,
      ...(number % 3 === 0 && { reference: `order-${number}` }),
      line: index + 2,
      ...(prefix === REFUSED && { refusedWith: 'WA400' }),
    }
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
      const answer = await stack.call('POST', `/v1/messages/${message.id}/resolve`, { as })
      expect(answer.status, JSON.stringify(message)).toBe(200)
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
  const expected = files.flatMap(({ recipients }) => recipients)
  expect(await untruthsOf(stack, rows, expected, resolved)).toEqual([])
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
