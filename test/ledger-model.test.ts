/**
 * The ledger against a model of it: thousands of steps in random order, workers that die, answers that come late,
 * sweepers, operators and callers in between. After each step Redis must hold what the model says, and nothing that
 * may not be sent twice is given to anybody a second time unless it is known that nobody took it, or was decided so.
 */
import {
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
}

interface Model {
  now: number
  messages: (Modelled | undefined)[]
}
interface Real {
  ledger: Ledger
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
async function compare(model: Model, { ledger, ids }: Real): Promise<void> {
  const known = model.messages.filter((message) => message !== undefined)
  expect(await ledger.depths(account)).toEqual({
    waiting: known.filter(isWaiting).length,
    sending: known.filter(({ state }) => state === 'sending').length,
    uncertain: known.filter(({ state }) => state === 'uncertain').length,
  })
  const expiring = await ledger.list(account, 'expiring', '+inf', 0, 100)
  expect(expiring).toHaveLength(known.filter((one) => isWaiting(one) && one.expiresAt > 0).length)
  for (const [index, id] of ids.entries()) {
    const message = model.messages[index]
    const record = await ledger.read(id)
    expect(record === undefined).toBe(message === undefined)
    if (!message || !record) continue
    const { state, generation, requestId, due } = message
    expect(record).toMatchObject({ state, generation, due: isWaiting(message) ? due : 0 })
    expect(record.requestId).toBe(requestId)
    expect((await ledger.content(id)) !== null).toBe(isOpen(message))
    if (requestId !== undefined) expect((await ledger.findByRequestId(requestId))?.text).toBe(id.text)
  }
  // A bucket is forgotten some day exactly when nothing in it is under way.
  const retained = (await redis.ttl('wa:{1}:b:000000000')) > 0
  expect(retained).toBe(known.length > 0 && !known.some(isOpen))
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
      model.messages[index] ??= {
        state: delayMs > 0 ? 'scheduled' : 'queued',
        generation: 0,
        due: now + delayMs,
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
      }
      expect(answer.state).toBe(model.messages[index].state)
    },
  )

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
    (newest && isWaiting(message) && decided) ||
    // Decided without knowing, and then the answer came.
    (newest &&
      (message.state === 'submitted' || message.state === 'failed') &&
      message.fates.get(attempt) === 'unknown' &&
      kind === 'accepted') ||
    (attempt === message.attempts + 1 && isWaiting(message))
  const due = model.now + (settlement.inMs ?? 0)
  const waits = ['scheduled', 'queued', 'retrying'].includes(settlement.state)
  const state = waits && expiresAt > 0 && due >= expiresAt ? 'expired' : settlement.state
  expect(result).toEqual({ settled: counts, state: counts ? state : message.state })
  if (!counts) return
  message.attempts = attempt
  message.fates.set(attempt, fateOf[kind])
  message.state = state
  message.due = due
  message.tries += settlement.counts ? 1 : 0
  message.answered ||= settlement.answered ?? false
  message.requestId = settlement.requestId ?? message.requestId
}

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
    if (changes && as === 'resend' && !(byRule && message.answered)) {
      const pardoned = message.attempts
      Object.assign(message, { state: 'queued', due: model.now, answered: false, pardoned })
      message.generation++
    }
    expect(result).toMatchObject({ changed: changes, state: message?.state })
  })

/** The usual way, so that chances are good to get further than the first step. */
const attempt = (index: number, kind: OutcomeKind) => [claim(index, 0, false), settle(index, 0, kind)]

const COUNT = 3
const index = fc.nat({ max: COUNT - 1 })
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
    .tuple(index, fc.boolean(), fc.constantFrom(0, 0, 800), fc.constantFrom(0, 0, 2_500))
    .map((a) => accept(...a)),
  fc.tuple(index, older, fc.boolean()).map((a) => claim(...a)),
  fc.tuple(index, fc.constantFrom(0, 0, 0, 0, -1, 1), kinds).map((a) => settle(...a)),
  fc.tuple(index, kinds).map(([of, kind]) => inSequence(`attempt ${of} (${kind})`, attempt(of, kind))),
  index.map(giveUp),
  fc.tuple(index, older).map((a) => requeue(...a)),
  fc.tuple(index, fc.constantFrom('cancelled' as const, 'expired' as const)).map((a) => end(...a)),
  fc.tuple(index, decisions, fc.boolean()).map((a) => resolve(...a)),
]

test('the ledger is what its model says, whatever comes in whatever order', async () => {
  let taken = 0
  await fc.assert(
    fc.asyncProperty(fc.commands(steps, { maxCommands: 80, size: 'max' }), async (commands) => {
      await redis.flushall()
      const clock = { now: 1_790_000_000_000 }
      const ledger = new Ledger({ redis, retentionDays: 7, clock: () => clock.now })
      await ledger.open([account])
      const ids = await ledger.createIds(account, COUNT)
      await fc.asyncModelRun(
        () => ({
          model: { now: clock.now, messages: Array.from({ length: COUNT }) } as Model,
          real: { ledger, ids, clock, tokens: 0 },
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
