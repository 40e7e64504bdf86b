/**
 * The provider took a message and nobody here heard of it. Where it echoes our id, its receipts tell; where it does not,
 * nobody can know, and that is what the message says.
 */
import { accountsKey, lanePrefix } from '@wa-dispatch/dispatch'
import { Queue } from 'bullmq'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'
import { allAccounts, replyButtons, type Stack, startStack } from './stack.ts'

const onEnd = endings()
const redis = await useRedis(onEnd)
const token = 'a-receipt-token'
const echoing = ['kaleyra-in', 'zixflow-ai']
const silent = 'gupshup-main'
const EACH = 150

const receiptUrl = (apiUrl: string, account: string) => `${apiUrl}/v1/receipts/${account}`

function accounts(apiUrl: string): Record<string, unknown>[] {
  return allAccounts({ receiptToken: token })
    .filter(({ id }) => id === silent || echoing.includes(String(id)))
    .map((account) => ({
      ...account,
      // Zixflow is told with each message; the others are told once, by hand.
      ...(account.provider === 'zixflow' && { receiptUrl: receiptUrl(apiUrl, String(account.id)) }),
    }))
}

async function startHouse(): Promise<Stack> {
  const stack = await startStack({ redisUrl: redis.url, accounts, onEnd })
  for (const [account, name] of [
    ['kaleyra-in', 'kaleyra/919000000000'],
    [silent, 'gupshup/bf9ee64c-3d4d-4ac4-8668-732e577007c4'],
  ] as const)
    await stack.control('PUT', `accounts/${name}`, {
      receiptUrl: receiptUrl(stack.apiUrl, account),
      receiptToken: token,
    })
  await stack.startApi()
  await stack.startWorker()
  return stack
}

/** @returns how many messages of an account are uncertain, as Prometheus is told */
async function uncertain(stack: Stack, account: string): Promise<number> {
  const answer = await fetch(`${stack.apiUrl}/metrics`, { headers: { authorization: `Bearer ${stack.key}` } })
  const line = new RegExp(`^wa_dispatch_messages\\{account="${account}",state="uncertain"\\} (\\d+)$`, 'm')
  return Number(line.exec(await answer.text())?.[1])
}

test('a message whose answer was lost is settled by its receipts, or is uncertain and counted; it is never sent again', {
  timeout: 120_000,
}, async () => {
  const stack = await startHouse()
  await stack.faults(
    { id: 'lost', probability: 0.2, effect: { kind: 'lost-response' } },
    { id: 'late', probability: 0.05, effect: { kind: 'hang' } },
  )
  const delay = { uniform: { minMs: 0, maxMs: 500 } }
  await stack.control('PUT', 'receipt-rules', {
    rules: [
      { probability: 0.3, statuses: ['delivered'], early: true },
      { probability: 0.3, statuses: ['sent'], delay },
      { probability: 0.3, statuses: ['sent', { status: 'failed', code: 131026 }], delay },
      { statuses: ['sent', 'delivered', 'read'], delay, order: 'shuffled', repeat: { probability: 0.2 } },
    ],
  })
  const ids = await stack.sendAll(
    [...echoing, silent].flatMap((account, lane) =>
      Array.from({ length: EACH }, (_, number) => ({
        account,
        to: String(919_876_500_000 + lane * EACH + number),
        message: replyButtons(),
      })),
    ),
  )
  const told = ['sent', 'delivered', 'read', 'failed']
  await stack.untilAll(ids, [...told, 'uncertain'])
  await expect
    .poll(async () => (await stack.control('GET', 'receipts/summary')).pending, { timeout: 30_000 })
    .toBe(0)

  // No message came twice, and of many the answer was lost.
  const requests = await stack.requests()
  expect(requests.every(({ accepted }) => accepted)).toBe(true)
  const byRecipient = new Map(requests.map((request) => [request.recipient, request]))
  expect(requests).toHaveLength(ids.length)
  expect(byRecipient.size).toBe(ids.length)
  const lostOf = (account: string, messages: { to: string; account: string }[]) =>
    messages.filter(({ to, account: its }) => its === account && byRecipient.get(to)!.answer.status === 0)

  await stack.untilAll(ids.slice(0, 2 * EACH), told)
  const messages = await Promise.all(ids.map((id) => stack.read(id)))
  for (const account of echoing) {
    const lost = lostOf(account, messages)
    expect(lost.length).toBeGreaterThan(10)
    // On a busy machine a claim may come too late for its instant: then nothing was written.
    for (const { attempts } of messages.filter((one) => one.account === account))
      expect(attempts.filter(({ code }) => code !== 'NOT_SENT')).toHaveLength(1)
    expect(await uncertain(stack, account)).toBe(0)
  }

  const lost = lostOf(silent, messages) as typeof messages
  expect(lost.length).toBeGreaterThan(10)
  expect(new Set(lost.map(({ state }) => state))).toEqual(new Set(['uncertain']))
  const ofSilent = messages.filter(({ account }) => account === silent)
  expect(ofSilent.filter(({ state }) => state === 'uncertain')).toHaveLength(lost.length)
  expect(await uncertain(stack, silent)).toBe(lost.length)

  // What was said of them is there to be looked at.
  const unmatched = await stack.call('GET', '/v1/receipts?unmatched=true&limit=500')
  const known = new Set(lost.map(({ to }) => byRecipient.get(to)!.requestId))
  const named = new Set(unmatched.body.items.map(({ request_id }: { request_id: string }) => request_id))
  expect(named).toEqual(known)

  // Jobs whose receipt was faster than the answer are no failures.
  const connection = new Redis(redis.url)
  const number = Number(await connection.hget(accountsKey, 'kaleyra-in'))
  const lane = new Queue('kaleyra-in', { connection, prefix: lanePrefix(number) })
  const reasons = (await lane.getFailed()).map(({ failedReason }) => failedReason)
  await lane.close()
  connection.disconnect()
  expect(reasons.filter((reason) => !/^(uncertain|failed): /.test(reason ?? ''))).toEqual([])
})
