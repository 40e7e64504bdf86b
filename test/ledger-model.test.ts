/**
 * The ledger against a model of it: thousands of steps in random order, workers that die, answers that come late,
 * sweepers, operators and callers in between. After each step Redis must hold what the model says, and nothing that
 * may not be sent twice is given to anybody a second time unless it is known that nobody took it, or was decided so.
 * Half of the messages are a campaign's, which is paused, resumed, cancelled, retried and finished meanwhile: its counts
 * are at every moment what its messages say.
 */
import {
  type CampaignAction,
  type CampaignId,
  type CampaignRecord,
  Campaigns,
  CHUNK_ROWS,
  decide,
  Ledger,
  type MessageId,
  type MessageState,
  type RetryRules,
  WAITING,
} from '@wa-dispatch/dispatch'
import type { SendOutcome } from '@wa-dispatch/providers'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'

const account = 'kaleyra-in'
const HOLD_MS = 3_000
const WINDOW_MS = 5_000
const rules: RetryRules = {
  retry: { unavailable: { delaysMs: [1_000, 2_000] } },
  uncertainWindowMs: WINDOW_MS,
}

const onEnd = endings()
let redis: Redis
beforeAll(async () => {
  redis = new Redis((await useRedis(onEnd)).url)
})
afterAll(() => redis?.disconnect())

/** What is known about one attempt's message at the provider. */
type Fate = 'unknown' | 'not taken' | 'taken'

interface Modelled {
  state: MessageState
  generation: number
  due: number
  expiresAt: number
  idempotent: boolean
  answered: boolean
  attempts: number
  tries: number
  token: string
  /** When a claim is given up. */
  until: number
  requestId: string | undefined
  fates: Map<number, Fate>
  /** Attempts up to this one were made good for another by a decision. */
  pardoned: number
  /** The most that receipts said, as a place in HEARD. */
  heard: number
}

/** What receipts say, the greater over the lesser. */
const HEARD = ['nothing', 'sent', 'failed', 'delivered', 'read'] as const
type Heard = Exclude<(typeof HEARD)[number], 'nothing'>

/** The state of a message by its receipts, where its attempts alone would give it `state`. */
function byReceipts({ heard }: Modelled, state: MessageState): MessageState {
  const word = HEARD[heard]!
  if (word === 'nothing') return state
  if (word !== 'failed') return word
  return state === 'submitted' || state === 'sent' || state === 'uncertain' ? 'failed' : state
}

interface ModelledCampaign {
  state: CampaignRecord['state']
  /** Rows that are messages. */
  fed: number
  /** What became of the others, when they will never be messages. */
  unfedAs: 'cancelled' | 'expired' | undefined
  finished: boolean
  /** 0 for never. */
  expiresAt: number
}

interface Model {
  now: number
  messages: (Modelled | undefined)[]
  campaign: ModelledCampaign
}
interface Real {
  ledger: Ledger
  campaigns: Campaigns
  campaign: CampaignId
  ids: MessageId[]
  clock: { now: number }
  tokens: number
}

const isWaiting = ({ state }: Modelled) => WAITING.includes(state)
const isOpen = (message: Modelled) =>
  isWaiting(message) || message.state === 'sending' || message.state === 'uncertain'

const outcomes = {
  accepted: { outcome: 'accepted', code: 'WA202', requestId: 'r' },
  rejected: { outcome: 'rejected', code: 'WA400', message: 'no', kind: 'content' },
  throttled: { outcome: 'throttled', code: 'HTTP_429', message: 'slow', retryAfterMs: 700 },
  unavailable: { outcome: 'unavailable', code: 'WA500', message: 'later' },
  uncertain: { outcome: 'uncertain', code: 'ETIMEDOUT', message: '?', answered: false },
  unreadable: { outcome: 'uncertain', code: 'HTTP_200', message: '?', answered: true },
} satisfies Record<string, SendOutcome>
type OutcomeKind = keyof typeof outcomes
const fateOf = {
  accepted: 'taken',
  rejected: 'not taken',
  throttled: 'not taken',
  unavailable: 'not taken',
  uncertain: 'unknown',
  unreadable: 'unknown',
} satisfies Record<OutcomeKind, Fate>

/** One step. `act` changes the model and the ledger, and compares their answers. */
class Step implements fc.AsyncCommand<Model, Real> {
  readonly #name: string
  readonly #act: (model: Model, real: Real) => Promise<void>
  constructor(name: string, act: (model: Model, real: Real) => Promise<void>) {
    this.#name = name
    this.#act = act
  }
  check = () => true
  toString = () => this.#name
  async run(model: Model, real: Real): Promise<void> {
    await this.#act(model, real)
    await compare(model, real)
  }
}

/** Everything that Redis says about the messages is what the model says. */
async function compare(model: Model, real: Real): Promise<void> {
  const { ledger, ids } = real
  const known = model.messages.filter((message) => message !== undefined)
  const single = model.messages.slice(0, COUNT).filter((message) => message !== undefined)
  expect(await ledger.depths(account)).toEqual({
    waiting: single.filter(isWaiting).length,
    sending: known.filter(({ state }) => state === 'sending').length,
    uncertain: known.filter(({ state }) => state === 'uncertain').length,
  })
  const expiring = await ledger.list(account, 'expiring', '+inf', 0, 100)
  expect(expiring).toHaveLength(known.filter((one) => isWaiting(one) && one.expiresAt > 0).length)
  await Promise.all(ids.map((id, index) => compareMessage(model.messages[index], id, ledger)))
  // A bucket is forgotten some day exactly when nothing in it is under way; a campaign's, when the campaign is over.
  const retained = (await redis.ttl('wa:{1}:b:000000000')) > 0
  expect(retained).toBe(single.length > 0 && !single.some(isOpen))
  await compareCampaign(model, real)
}

async function compareMessage(message: Modelled | undefined, id: MessageId, ledger: Ledger): Promise<void> {
  const [record, content] = await Promise.all([ledger.read(id), ledger.content(id)])
  expect(record === undefined).toBe(message === undefined)
  if (!message || !record) return
  const { state, generation, requestId, due } = message
  expect(record).toMatchObject({ state, generation, due: isWaiting(message) ? due : 0 })
  expect(record.requestId).toBe(requestId)
  expect(content !== null).toBe(isOpen(message))
  if (requestId !== undefined) expect((await ledger.findByRequestId(requestId))?.text).toBe(id.text)
}

async function compareCampaign(
  { messages, campaign }: Model,
  { ledger, campaigns, campaign: id, ids }: Real,
): Promise<void> {
  const fed = messages.slice(COUNT).filter((message) => message !== undefined)
  const counts: Record<string, number> = {}
  for (const { state } of fed) counts[state] = (counts[state] ?? 0) + 1
  const unfed = COUNT - campaign.fed
  if (unfed > 0) {
    const state = campaign.unfedAs ?? 'queued'
    counts[state] = (counts[state] ?? 0) + unfed
  }
  const record = (await campaigns.read(id))!
  expect(record).toMatchObject({ state: campaign.state, fed: campaign.fed, total: COUNT })
  expect(record.unfedAs).toBe(campaign.unfedAs)
  expect(record.finishedAt !== undefined).toBe(campaign.finished)
  expect(record.counts).toEqual(counts)
  expect(await ledger.listOf(campaigns.waitingKey(id), '+inf', 0, 100)).toHaveLength(
    fed.filter(isWaiting).length,
  )
  const [bucket] = await redis.keys(
    `wa:{1}:b:${Math.floor(ids[COUNT]!.sequence / 16)
      .toString(16)
      .padStart(9, '0')}`,
  )
  if (bucket) expect(await redis.ttl(bucket)).toBe(-1)
}

const tick = (milliseconds: number) =>
  new Step(`${milliseconds} ms pass`, async (model, real) => {
    model.now += milliseconds
    real.clock.now = model.now
  })

const accept = (index: number, idempotent: boolean, delayMs: number, lifeMs: number) =>
  new Step(
    `accept ${index} (idempotent ${idempotent}, in ${delayMs}, for ${lifeMs})`,
    async (model, real) => {
      const { now } = model
      const expiresAt = lifeMs > 0 ? now + delayMs + lifeMs : 0
      const message = { id: real.ids[index]!, to: '919876543210', content: '{}', idempotent, expiresAt }
      const due = { ...message, ...(delayMs > 0 && { sendAt: now + delayMs }) }
      const answer = (await real.ledger.accept(account, [due]))[0]!
      const state = delayMs > 0 ? 'scheduled' : 'queued'
      model.messages[index] ??= newMessage(state, now + delayMs, expiresAt, idempotent)
      expect(answer.state).toBe(model.messages[index].state)
    },
  )

const newMessage = (
  state: 'scheduled' | 'queued',
  due: number,
  expiresAt: number,
  idempotent: boolean,
): Modelled => ({
  state,
  generation: 0,
  due,
  expiresAt,
  idempotent,
  answered: false,
  attempts: 0,
  tries: 0,
  token: '',
  until: 0,
  requestId: undefined,
  fates: new Map(),
  pardoned: 0,
  heard: 0,
})

/** @param late the asker knows an older cursor */
const feed = (idempotent: boolean, late: boolean) =>
  new Step(`feed the next row (idempotent ${idempotent}${late ? ', late' : ''})`, async (model, real) => {
    const { campaign, now } = model
    const row = Math.max(0, campaign.fed - (late ? 1 : 0))
    if (row >= COUNT) return
    const { expiresAt } = campaign
    const id = real.ids[COUNT + row]!
    const message = { id, to: '919876543210', content: '{}', idempotent, expiresAt, campaign: 1 }
    const next = row + 1 < COUNT ? row + 1 : CHUNK_ROWS
    const answer = await real.ledger.feed(account, real.campaign.number, [message], row, next)
    const feeds = campaign.state === 'running' && campaign.unfedAs === undefined && row === campaign.fed
    expect(answer).toEqual(feeds ? [{ state: 'queued', due: now }] : undefined)
    if (!feeds) return
    campaign.fed++
    model.messages[COUNT + row] = newMessage('queued', now, expiresAt, idempotent)
  })

const act = (action: 'pause' | 'resume' | 'cancel' | 'expire' | 'finish') =>
  new Step(`${action} the campaign`, async (model, real) => {
    const { campaign, now } = model
    const { state } = campaign
    const open = COUNT - campaign.fed > 0 && campaign.unfedAs === undefined
    const waits = model.messages.slice(COUNT).some((message) => message && isOpen(message))
    const allowed = {
      pause: state === 'running',
      resume: state === 'paused',
      cancel: state === 'running' || state === 'paused',
      expire:
        (state === 'running' || state === 'paused') &&
        campaign.unfedAs === undefined &&
        campaign.expiresAt > 0 &&
        campaign.expiresAt <= now,
      finish: state !== 'finished' && !campaign.finished && !open && !waits,
    }[action]
    if (allowed) {
      if (action === 'pause') campaign.state = 'paused'
      if (action === 'resume') campaign.state = 'running'
      if (action === 'cancel') campaign.state = 'cancelled'
      if (action === 'cancel') campaign.unfedAs ??= 'cancelled'
      if (action === 'expire') campaign.unfedAs = 'expired'
      if (action === 'finish') {
        campaign.finished = true
        if (state !== 'cancelled') campaign.state = 'finished'
      }
    }
    expect(await real.campaigns.act(real.campaign, action as CampaignAction)).toEqual({
      result: allowed ? 'done' : 'refused',
      state: campaign.state,
    })
  })

/** As the feeder does it. */
const retry = new Step('retry the campaign', async (model, real) => {
  const { campaign } = model
  const { result } = await real.campaigns.act(real.campaign, 'retry')
  expect(result).toBe(campaign.state === 'cancelled' ? 'refused' : 'done')
  if (result === 'done') {
    campaign.finished = false
    if (campaign.state === 'finished') campaign.state = 'running'
  }
  const generations = await real.ledger.reopen(
    account,
    real.ids.slice(COUNT).map((id) => ({ id, content: '{}' })),
  )
  for (const [row, generation] of generations.entries()) {
    const message = model.messages[COUNT + row]
    const reopens = message?.state === 'failed' && campaign.state === 'running'
    expect(generation).toBe(reopens ? message.generation + 1 : undefined)
    if (!reopens) continue
    const { attempts: pardoned } = message
    Object.assign(message, { state: 'queued', due: model.now, answered: false, tries: 0, pardoned, heard: 0 })
    message.generation++
  }
  const { retry } = (await real.campaigns.read(real.campaign))!
  if (retry) await real.campaigns.keepRetry(real.campaign, retry, undefined)
})

/** A message alone is in none. */
const campaignOf = (index: number, { campaign }: Model) => (index < COUNT ? undefined : campaign.state)

/** @param older how many generations behind the job is; `again`: the same asker, whose answer was lost */
const claim = (index: number, older: number, again: boolean) =>
  new Step(`claim ${index} (${older} behind, ${again ? 'again' : 'new'})`, async (model, real) => {
    const message = model.messages[index]
    const token = again && message?.token ? message.token : `token-${++real.tokens}`
    const generation = (message?.generation ?? 0) - older
    const result = await real.ledger.claim(real.ids[index]!, generation, HOLD_MS, token)
    if (!message) return expect(result).toEqual({ kind: 'stale', state: undefined })
    if (message.state === 'sending' && token === message.token)
      return expect(result).toMatchObject({ kind: 'claimed', attempt: message.attempts })
    if (message.state === 'sending')
      return expect(result).toMatchObject({
        kind: 'held',
        inMs: message.until - model.now,
        attempt: message.attempts,
      })
    if (!isWaiting(message) || older > 0)
      return expect(result).toEqual({ kind: 'stale', state: message.state })
    if (message.expiresAt > 0 && message.expiresAt <= model.now) {
      message.state = 'expired'
      return expect(result).toEqual({ kind: 'expired' })
    }
    if (campaignOf(index, model) === 'cancelled') {
      message.state = 'cancelled'
      return expect(result).toEqual({ kind: 'stale', state: 'cancelled' })
    }
    if (campaignOf(index, model) === 'paused') return expect(result).toEqual({ kind: 'parked' })
    if (message.due > model.now)
      return expect(result).toEqual({ kind: 'early', inMs: message.due - model.now })

    expect(result).toMatchObject({ kind: 'claimed', attempt: message.attempts + 1, tries: message.tries })
    for (const [attempt, fate] of message.fates)
      if (!message.idempotent && attempt > message.pardoned)
        expect(fate, `attempt ${attempt}, before another was allowed`).toBe('not taken')
    message.attempts++
    message.fates.set(message.attempts, 'unknown')
    Object.assign(message, { state: 'sending', token, until: model.now + HOLD_MS })
  })

/** @param offset 0: the newest attempt; -1: the one before; 1: one whose claim Redis has forgotten */
const settle = (index: number, offset: number, kind: OutcomeKind) =>
  new Step(`settle ${index} (attempt ${offset}, ${kind})`, async (model, real) => {
    const message = model.messages[index]
    const attempt = (message?.attempts ?? 1) + offset
    if (attempt < 1) return
    await applySettlement(model, real, index, attempt, kind)
  })

async function applySettlement(
  model: Model,
  real: Real,
  index: number,
  attempt: number,
  kind: OutcomeKind,
): Promise<void> {
  const message = model.messages[index]
  const { tries = 0, expiresAt = 0, idempotent = false } = message ?? {}
  const context = { attempt, tries, idempotent, durationMs: 5, random: 0 }
  const told: SendOutcome = { ...outcomes[kind] }
  if (told.outcome === 'accepted') told.requestId = `request-${index}`
  const { settlement } = decide(told, rules, context)
  const result = await real.ledger.settle(real.ids[index]!, settlement)
  if (!message) return expect(result).toEqual({ settled: false, state: undefined })

  const newest = attempt === message.attempts
  const decided = kind === 'accepted' || kind === 'rejected'
  const counts =
    (newest && message.state === 'sending') ||
    (newest && message.state === 'uncertain' && kind !== 'uncertain' && kind !== 'unreadable') ||
    (newest &&
      isWaiting(message) &&
      (kind === 'accepted' || (decided && message.fates.get(attempt) === 'unknown'))) ||
    // Decided without knowing, and then the answer came.
    (newest &&
      ['submitted', 'sent', 'delivered', 'read', 'failed'].includes(message.state) &&
      message.fates.get(attempt) === 'unknown' &&
      kind === 'accepted') ||
    (attempt === message.attempts + 1 && isWaiting(message))
  const due = model.now + (settlement.inMs ?? 0)
  const waits = ['scheduled', 'queued', 'retrying'].includes(settlement.state)
  let { state } = settlement
  if (waits && expiresAt > 0 && due >= expiresAt) state = 'expired'
  if (waits && campaignOf(index, model) === 'cancelled') state = 'cancelled'
  const failedByReceipt = message.state === 'failed' && HEARD[message.heard] === 'failed'
  const ahead = failedByReceipt || ['sent', 'delivered', 'read'].includes(message.state)
  state = ahead ? message.state : byReceipts(message, state)
  expect(result).toEqual({ settled: counts, state: counts ? state : message.state })
  if (!counts) return
  message.attempts = attempt
  message.fates.set(attempt, fateOf[kind])
  message.state = state
  message.due = due
  message.tries += settlement.counts ? 1 : 0
  message.answered ||= settlement.answered ?? false
  message.requestId = settlement.requestId ?? message.requestId
  if (isWaiting(message)) message.heard = 0
}

/** @param byId named by our own id; else by the request id of its newest accepted attempt, once there is one */
const hear = (index: number, word: Heard, byId: boolean) =>
  new Step(`hear of ${index} that it is ${word} (${byId ? 'our id' : 'request id'})`, async (model, real) => {
    const message = model.messages[index]
    const requestId = message?.requestId
    if (!message || (requestId === undefined && !byId)) return
    const receipt = { status: word, state: word, at: model.now + ++real.tokens }
    const name = byId ? { messageId: real.ids[index]! } : { requestId }
    const [applied] = await real.ledger.applyReceipts(account, [{ ...receipt, ...name }])
    const isOver = (isWaiting(message) || message.state === 'sending') && !byId
    const counts = word === 'failed' ? !isOver && !isWaiting(message) : word === 'sent' ? !isOver : true
    if (counts) message.heard = Math.max(message.heard, HEARD.indexOf(word))
    const state = message.state === 'sending' ? message.state : byReceipts(message, message.state)
    expect(applied).toEqual({ id: real.ids[index], state, moved: state !== message.state })
    message.state = state
  })

/** As a sweeper does it: only a claim whose time is over. */
const giveUp = (index: number) =>
  new Step(`give up ${index}`, async (model, real) => {
    const message = model.messages[index]
    const held = await real.ledger.currentClaim(real.ids[index]!)
    expect(held !== undefined).toBe(message?.state === 'sending')
    if (held && held.inMs <= 0) await applySettlement(model, real, index, held.attempt, 'uncertain')
  })

const requeue = (index: number, older: number) =>
  new Step(`requeue ${index} (${older} behind)`, async (model, real) => {
    const message = model.messages[index]
    const result = await real.ledger.requeue(real.ids[index]!, (message?.generation ?? 0) - older)
    if (!message || !isWaiting(message) || older > 0) return expect(result).toBeUndefined()
    message.generation++
    expect(result).toEqual({ generation: message.generation, due: message.due })
  })

const end = (index: number, state: 'cancelled' | 'expired') =>
  new Step(`${state} ${index}`, async (model, real) => {
    const message = model.messages[index]
    const result = await real.ledger.endWaiting(real.ids[index]!, state)
    const isOver = message && message.expiresAt > 0 && message.expiresAt <= model.now
    const changes = message !== undefined && isWaiting(message) && (state === 'cancelled' || isOver === true)
    if (changes) message.state = state
    expect(result).toMatchObject({ changed: changes, state: message?.state })
  })

const resolve = (index: number, as: 'submitted' | 'failed' | 'resend' | 'hold', byRule: boolean) =>
  new Step(`resolve ${index} as ${as} (${byRule ? 'rule' : 'person'})`, async (model, real) => {
    const message = model.messages[index]
    const result = await real.ledger.resolve(real.ids[index]!, as, byRule)
    const changes = message?.state === 'uncertain'
    if (changes && (as === 'submitted' || as === 'failed')) message.state = as
    // A rule never sends again what was answered with a 2xx.
    const sendsAgain = changes && as === 'resend' && !(byRule && message.answered)
    if (sendsAgain && campaignOf(index, model) === 'cancelled') message.state = 'cancelled'
    else if (sendsAgain) {
      const pardoned = message.attempts
      Object.assign(message, { state: 'queued', due: model.now, answered: false, pardoned })
      message.generation++
    }
    expect(result).toMatchObject({ changed: changes, state: message?.state })
  })

/** The usual way, so that chances are good to get further than the first step. */
const attempt = (index: number, kind: OutcomeKind) => [claim(index, 0, false), settle(index, 0, kind)]

/** Messages alone, and rows of the campaign, whose messages come behind them. */
const COUNT = 3
const single = fc.nat({ max: COUNT - 1 })
const index = fc.nat({ max: 2 * COUNT - 1 })
const older = fc.constantFrom(0, 0, 0, 1)
const kinds = fc.constantFrom(...(Object.keys(outcomes) as OutcomeKind[]), 'uncertain', 'unreadable')
const decisions = fc.constantFrom('submitted', 'failed', 'resend', 'resend', 'resend', 'hold')
const inSequence = (name: string, steps: Step[]) =>
  new Step(name, async (model, real) => {
    for (const step of steps) await step.run(model, real)
  })
const steps = [
  fc.constantFrom(1, 400, 1_000, 3_000, 6_000).map(tick),
  fc
    .tuple(single, fc.boolean(), fc.constantFrom(0, 0, 800), fc.constantFrom(0, 0, 2_500))
    .map((a) => accept(...a)),
  fc.tuple(fc.boolean(), fc.constantFrom(false, false, true)).map((a) => feed(...a)),
  fc.constantFrom('pause' as const, 'resume' as const, 'resume' as const, 'expire' as const).map(act),
  fc.constantFrom(act('finish'), act('finish'), retry, retry, retry, act('cancel')),
  fc.tuple(index, older, fc.boolean()).map((a) => claim(...a)),
  fc.tuple(index, fc.constantFrom(0, 0, 0, 0, -1, 1), kinds).map((a) => settle(...a)),
  fc.tuple(index, kinds).map(([of, kind]) => inSequence(`attempt ${of} (${kind})`, attempt(of, kind))),
  fc
    .tuple(
      index,
      fc.constantFrom<Heard>('sent', 'sent', 'failed', 'failed', 'delivered', 'read'),
      fc.boolean(),
    )
    .map((a) => hear(...a)),
  index.map(giveUp),
  fc.tuple(index, older).map((a) => requeue(...a)),
  fc.tuple(index, fc.constantFrom('cancelled' as const, 'expired' as const)).map((a) => end(...a)),
  fc.tuple(index, decisions, fc.boolean()).map((a) => resolve(...a)),
]

async function startCampaign(ledger: Ledger, expiresAt: number) {
  const campaigns = new Campaigns({ redis, ledger, retentionDays: 7 })
  const campaign = await campaigns.create({
    name: 'autumn',
    account,
    message: {},
    priority: 'bulk',
    weight: 1,
    ...(expiresAt > 0 && { expiresAt }),
  })
  const packed = Array.from({ length: COUNT }, (_, row) => ({
    line: row + 1,
    to: String(919_876_543_210 + row),
    values: [],
  }))
  await campaigns.store(campaign, {}, 0, campaigns.pack(packed, new Map()))
  await campaigns.act(campaign, 'start')
  const chunk = (await campaigns.chunk(campaign, 0))!
  return { campaigns, campaign, rows: packed.map((_, row) => campaigns.messageId(campaign, chunk, row)) }
}

test('the ledger is what its model says, whatever comes in whatever order', async () => {
  let taken = 0
  const walk = fc.commands(steps, { maxCommands: 80, size: 'max' })
  await fc.assert(
    fc.asyncProperty(walk, fc.constantFrom(0, 0, 9_000), async (commands, lifeMs) => {
      await redis.flushall()
      const clock = { now: 1_790_000_000_000 }
      const ledger = new Ledger({ redis, retentionDays: 7, clock: () => clock.now })
      await ledger.open([account])
      const ids = await ledger.createIds(account, COUNT)
      const expiresAt = lifeMs > 0 ? clock.now + lifeMs : 0
      const { campaigns, campaign, rows } = await startCampaign(ledger, expiresAt)
      const campaignModel = {
        state: 'running',
        fed: 0,
        unfedAs: undefined,
        finished: false,
        expiresAt,
      } satisfies ModelledCampaign
      await fc.asyncModelRun(
        () => ({
          model: {
            now: clock.now,
            messages: Array.from({ length: 2 * COUNT }),
            campaign: campaignModel,
          } as Model,
          real: { ledger, campaigns, campaign, ids: [...ids, ...rows], clock, tokens: 0 },
        }),
        commands,
      )
      taken += [...commands].length
    }),
    { seed: 20_260_901, numRuns: 250 },
  )
  // A walk of few steps would show nothing.
  expect(taken).toBeGreaterThan(5_000)
}, 120_000)
