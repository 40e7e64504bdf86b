/**
 * The way of one request: what its document refuses is refused, then the rate limit, then the faults on demand,
 * then the balance; what is left is accepted. It is recorded when it is decided, before anything is answered.
 */
import { hash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Accounts } from './accounts/accounts.ts'
import type { Faults, Verdict } from './faults/faults.ts'
import { garbageAnswer } from './faults/garbage.ts'
import { retryAfterValue } from './faults/retry-after.ts'
import type { Effect } from './faults/schema.ts'
import type { Detail, RecordStore } from './records/store.ts'
import type { Answer, Endpoint, Head, System, Taken } from './systems/system.ts'
import { cut, deliver, reset, write } from './transport.ts'

/** What one request brought. */
export interface Arrival {
  request: IncomingMessage
  response: ServerResponse
  parameters: Head['parameters']
  /** Undefined where there is none, or none was read. */
  body: string | undefined
  arrivedAtMs: number
}

/** What the simulator is made of while it runs. */
export interface World {
  accounts: Accounts
  faults: Faults
  records: RecordStore
}

/** Bodies and answers in the records are cut here; characters. */
const longestKept = 16_384

/** What happens instead of an answer. */
const silences = {
  'lost-response': (arrival: Arrival, latencyMs: number) => cut(arrival.response, latencyMs),
  'reset-before-body': (arrival: Arrival, latencyMs: number) =>
    reset(arrival.request, arrival.response, latencyMs),
  'reset-after-body': (arrival: Arrival, latencyMs: number) =>
    reset(arrival.request, arrival.response, latencyMs),
  hang: () => {},
} satisfies Record<string, (arrival: Arrival, latencyMs: number) => void>

/** Decides, records and answers a request whose body was read. */
export function exchange(world: World, system: System, endpoint: Endpoint, arrival: Arrival): void {
  const head: Head = { headers: arrival.request.headers, parameters: arrival.parameters }
  const body = parsed(arrival.body)
  const account = system.accountFromHead(head) ?? system.accountFromBody(body)
  const refusal = refuse(world, system, head, account, arrival)
  if (refusal !== undefined) {
    conclude(world, system, arrival, account, undefined, refusal, refusal.code)
    return
  }
  const taken = body === undefined ? { problem: 'body is not valid JSON' } : endpoint.check(body)
  if ('problem' in taken) {
    conclude(world, system, arrival, account, undefined, system.refuseBody(taken.problem), taken.problem)
    return
  }
  const subject = {
    provider: system.provider,
    account: account!,
    recipient: taken.recipient,
    type: taken.type,
  }
  const verdict = world.faults.decide(subject)
  if (verdict.rule === undefined) accept(world, system, arrival, account!, taken)
  else suffer(world, system, arrival, account!, taken, verdict)
}

/** Records and answers a request whose body could not be read (too long, broken off). */
export function refuseUnread(world: World, system: System, arrival: Arrival, problem: string): void {
  const account = system.accountFromHead({
    headers: arrival.request.headers,
    parameters: arrival.parameters,
  })
  conclude(world, system, arrival, account, undefined, system.refuseBody(problem), problem)
}

/** Resets a connection before its body is read, where a rule says so. */
export function resetBeforeBody(world: World, system: System, arrival: Arrival): boolean {
  const head = { headers: arrival.request.headers, parameters: arrival.parameters }
  const account = system.accountFromHead(head)
  const rule = world.faults.decideBeforeBody(system.provider, account)
  if (rule === undefined) return false
  record(world, system, arrival, account, undefined, 'reset-before-body', undefined, { rule })
  reset(arrival.request, arrival.response, 0)
  return true
}

function refuse(
  { accounts }: World,
  system: System,
  head: Head,
  account: string | undefined,
  { request, arrivedAtMs }: Arrival,
): Answer | undefined {
  if (request.method !== 'POST') return system.refuseMethod()
  const credentials = system.credentials(head)
  if (credentials === undefined) return system.refuseCredentials('wrong')
  const check = accounts.check(system.provider, account, credentials)
  if (check !== 'fine') return system.refuseCredentials(check)
  if (account !== undefined) {
    const impossible = system.refuseAccount(account)
    if (impossible !== undefined) return impossible
    const entry = accounts.find(system.provider, account)
    if (entry?.gate !== undefined && !entry.gate(arrivedAtMs)) {
      return withRetryAfter(system.tooManyRequests(), entry.rateLimit?.retryAfter)
    }
  }
  const contentType = head.headers['content-type']
  return contentType !== undefined && /^application\/json\s*(?:;|$)/i.test(contentType)
    ? undefined
    : system.refuseBody('Content-Type must be application/json')
}

function accept(world: World, system: System, arrival: Arrival, account: string, taken: Taken): void {
  if (!charge(world, system, account, taken)) {
    conclude(world, system, arrival, account, taken, system.lowBalance(), 'balance')
    return
  }
  const requestId = system.newRequestId()
  const answer = system.success(requestId, taken)
  record(world, system, arrival, account, taken, answer, requestId)
  write(arrival.response, answer)
}

/** Takes the price of a message, one for each recipient, off the balance; false where it does not suffice. */
function charge({ accounts }: World, system: System, account: string, { recipient }: Taken): boolean {
  const entry = accounts.find(system.provider, account)
  if (entry?.balance === undefined) return true
  const price = recipient.includes(',') ? recipient.split(',').length : 1
  if (entry.balance < price) return false
  entry.balance -= price
  return true
}

/** Answers, or does not, as the fault rules decided. */
function suffer(
  world: World,
  system: System,
  arrival: Arrival,
  account: string,
  taken: Taken,
  { latencyMs, slowBody, effect, rule }: Verdict,
): void {
  const accepted = isAccepted(effect)
  if (accepted && !charge(world, system, account, taken)) {
    const poor = system.lowBalance()
    record(world, system, arrival, account, taken, poor, undefined, { reason: 'balance', rule })
    deliver(arrival.response, poor, { latencyMs, slowBody, cutBody: false })
    return
  }
  const requestId = accepted ? system.newRequestId() : undefined
  const answer = answerOf(effect, system, taken, requestId ?? system.newRequestId())
  record(world, system, arrival, account, taken, answer, requestId, { rule })
  if (typeof answer === 'string') {
    silences[answer](arrival, latencyMs)
    return
  }
  const cutBody = effect?.kind === 'garbage' && effect.garbage === 'cut-body'
  deliver(arrival.response, answer, { latencyMs, slowBody, cutBody })
}

function isAccepted(effect: Effect | undefined): boolean {
  if (effect === undefined) return true
  switch (effect.kind) {
    case 'lost-response':
      return true
    case 'answer':
    case 'hang':
      return effect.accepted
    case 'garbage':
      return effect.accepted ?? (effect.status ?? 200) < 300
    default:
      return false
  }
}

function answerOf(
  effect: Effect | undefined,
  system: System,
  taken: Taken,
  requestId: string,
): Answer | keyof typeof silences {
  if (effect === undefined) return system.success(requestId, taken)
  switch (effect.kind) {
    case 'error': {
      const answer = system.errors[effect.name]!(effect.message, effect.status)
      return withRetryAfter(answer, effect.retryAfter)
    }
    case 'answer': {
      const { status, body = '', headers = {} } = effect
      const lowerCase = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
      const answer = {
        status,
        code: String(status),
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: Object.fromEntries(lowerCase) as Record<string, string>,
      }
      return withRetryAfter(answer, effect.retryAfter)
    }
    case 'garbage':
      return garbageAnswer(effect.garbage, system, requestId, taken, effect.status)
    default:
      return effect.kind
  }
}

function withRetryAfter(
  answer: Answer,
  retryAfter: Parameters<typeof retryAfterValue>[0] | undefined,
): Answer {
  if (retryAfter === undefined) return answer
  return { ...answer, headers: { ...answer.headers, 'retry-after': retryAfterValue(retryAfter) } }
}

/** Records a refusal and answers with it. */
function conclude(
  world: World,
  system: System,
  arrival: Arrival,
  account: string | undefined,
  taken: Taken | undefined,
  answer: Answer,
  reason: string,
): void {
  record(world, system, arrival, account, taken, answer, undefined, { reason })
  write(arrival.response, answer)
}

function record(
  { records }: World,
  system: System,
  { request, body, arrivedAtMs }: Arrival,
  account: string | undefined,
  taken: Taken | undefined,
  answer: Answer | string,
  requestId: string | undefined,
  { rule, reason }: Pick<Partial<Detail>, 'rule' | 'reason'> = {},
): void {
  const spoken = typeof answer === 'string' ? undefined : answer
  records.add({
    atMs: arrivedAtMs,
    provider: system.provider,
    account: account ?? null,
    recipient: taken?.recipient ?? null,
    type: taken?.type ?? null,
    accepted: requestId !== undefined,
    requestId: requestId ?? null,
    reference: taken?.reference ?? null,
    fingerprint: requestId === undefined ? 0 : fingerprint(system, account, taken!),
    status: spoken?.status ?? 0,
    code: spoken?.code ?? (answer as string),
    detail: {
      method: request.method!,
      path: request.url!,
      rawHeaders: request.rawHeaders,
      body: shortened(body),
      answerBody: shortened(spoken?.body),
      answerHeaders: spoken?.headers,
      rule,
      reason,
    },
  })
}

/** 52 bits of a digest: two different messages in a million share one about once in ten thousand runs. */
function fingerprint(system: System, account: string | undefined, { recipient, content }: Taken): number {
  const message = `${system.provider}\n${account}\n${recipient}\n${JSON.stringify(content)}`
  return Number.parseInt(hash('sha1', message, 'hex').slice(0, 13), 16)
}

const shortened = (text: string | undefined): string | undefined =>
  text !== undefined && text.length > longestKept ? text.slice(0, longestKept) : text

function parsed(text: string | undefined): unknown {
  if (text === undefined || text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
