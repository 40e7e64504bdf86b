/**
 * The way of one request: what its document refuses is refused, then the rate limit, then the faults on demand,
 * then the balance; what is left is accepted. It is recorded when it is decided, before anything is answered.
 */
import { hash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Accounts } from './accounts/accounts.ts'
import { answerOf, isAccepted, type Silence, withRetryAfter } from './faults/effects.ts'
import type { Faults, Verdict } from './faults/faults.ts'
import type { ReceiptOutbox } from './receipts/outbox.ts'
import type { Detail, RecordStore } from './records/store.ts'
import type { Answer, Endpoint, Head, Misfit, System, Taken } from './systems/system.ts'
import { deliveryReport } from './systems/zixflow.ts'
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
  receipts: ReceiptOutbox
}

/** What is known of a message, whether it was taken or refused. */
type About = Pick<Taken, 'recipient' | 'reference'> & Partial<Taken>

/** Records are cut here, in characters: bodies and answers, and what is kept of every request. */
const longestText = 16_384
const longestName = 1024

/** What happens instead of an answer. */
const silences: Record<Silence, (arrival: Arrival, latencyMs: number) => void> = {
  'lost-response': ({ response }, latencyMs) => cut(response, latencyMs),
  'reset-before-body': ({ request, response }, latencyMs) => reset(request, response, latencyMs),
  'reset-after-body': ({ request, response }, latencyMs) => reset(request, response, latencyMs),
  hang: () => {},
}

/** Decides, records and answers a request whose body was read. */
export function exchange(world: World, system: System, endpoint: Endpoint, arrival: Arrival): void {
  const head: Head = { headers: arrival.request.headers, parameters: arrival.parameters }
  const body = parsed(arrival.body)
  const account = system.accountFromHead(head) ?? system.accountFromBody(body)
  const refusal = refuse(world, system, head, account, arrival)
  if (refusal !== undefined) {
    conclude(world, system, arrival, account, system.peek(body), refusal, refusal.code)
    return
  }
  const taken = misfit(arrival, body) ?? endpoint.check(body)
  if ('problem' in taken) {
    const answer = system.refuseBody(taken.problem)
    conclude(world, system, arrival, account, system.peek(body), answer, taken.problem)
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
  method = 'POST',
): Answer | undefined {
  if (request.method !== method) return system.refuseMethod()
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
  return undefined
}

function misfit({ request }: Arrival, body: unknown): Misfit | undefined {
  const contentType = request.headers['content-type']
  if (contentType === undefined || !/^application\/json\s*(?:;|$)/i.test(contentType)) {
    return { problem: 'Content-Type must be application/json' }
  }
  return body === undefined ? { problem: 'body is not valid JSON' } : undefined
}

function accept(world: World, system: System, arrival: Arrival, account: string, taken: Taken): void {
  if (!charge(world, system, account, taken)) {
    conclude(world, system, arrival, account, taken, system.lowBalance(), 'balance')
    return
  }
  const requestId = system.newRequestId()
  const answer = system.success(requestId, taken)
  record(world, system, arrival, account, taken, answer, requestId)
  const early = plan(world, system, account, taken, requestId)
  if (early === undefined) write(arrival.response, answer)
  else early.then(() => write(arrival.response, answer))
}

/** Plans what is told of a message later; gives what its answer has to wait for, where something is told before. */
function plan(
  { accounts, receipts }: World,
  { provider }: System,
  account: string,
  taken: Taken,
  requestId: string,
): Promise<void> | undefined {
  const target = accounts.receiptTarget(provider, account, taken.receiptUrl)
  return receipts.accept({ provider, account, taken, requestId, target })
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
  const early = requestId === undefined ? undefined : plan(world, system, account, taken, requestId)
  const cutBody = effect?.kind === 'garbage' && effect.garbage === 'cut-body'
  const finish = () => {
    if (typeof answer === 'string') silences[answer](arrival, latencyMs)
    else deliver(arrival.response, answer, { latencyMs, slowBody, cutBody })
  }
  if (early === undefined) finish()
  else early.then(finish)
}

/** Answers a question about a message that was taken: what became of it. Rate limits are the account's. */
export function report(world: World, system: System, arrival: Arrival, requestId: string): void {
  const head: Head = { headers: arrival.request.headers, parameters: arrival.parameters }
  const told = world.receipts.reports.find(requestId)
  const refusal = refuse(world, system, head, told?.account, arrival, 'GET')
  const answer = refusal ?? deliveryReport(told)
  const about = told && { recipient: told.recipient, reference: told.reference }
  record(world, system, arrival, told?.account, about, answer, undefined)
  write(arrival.response, answer)
}

/** Records a refusal and answers with it. */
function conclude(
  world: World,
  system: System,
  arrival: Arrival,
  account: string | undefined,
  about: About | undefined,
  answer: Answer,
  reason: string,
): void {
  record(world, system, arrival, account, about, answer, undefined, { reason })
  write(arrival.response, answer)
}

function record(
  { records }: World,
  system: System,
  { request, body, arrivedAtMs }: Arrival,
  account: string | undefined,
  about: About | undefined,
  answer: Answer | string,
  requestId: string | undefined,
  { rule, reason }: Pick<Partial<Detail>, 'rule' | 'reason'> = {},
): void {
  const spoken = typeof answer === 'string' ? undefined : answer
  records.add({
    atMs: arrivedAtMs,
    provider: system.provider,
    account: clipped(account, longestName),
    recipient: clipped(about?.recipient, longestName),
    type: about?.type ?? null,
    accepted: requestId !== undefined,
    requestId: requestId ?? null,
    reference: clipped(about?.reference, longestName),
    fingerprint: requestId === undefined ? 0 : fingerprint(system, account, about as Taken),
    status: spoken?.status ?? 0,
    code: spoken?.code ?? (answer as string),
    detail: {
      method: request.method!,
      path: request.url!,
      rawHeaders: request.rawHeaders,
      body: clipped(body, longestText),
      answerBody: clipped(spoken?.body, longestText),
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

function clipped(text: string | null | undefined, length: number): string | null {
  return text == null ? null : text.length > length ? text.slice(0, length) : text
}

function parsed(text: string | undefined): unknown {
  if (text === undefined || text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
