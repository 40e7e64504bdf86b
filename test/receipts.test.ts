/** Receipts across processes: what was acknowledged is applied, whoever dies in the middle. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'
import { allAccounts, reaction, replyButtons, type Stack, startStack } from './stack.ts'

const onEnd = endings()
const redis = await useRedis(onEnd)
const token = 'a-receipt-token'
const statuses = ['sent', 'delivered', 'read'] as const
const SENDERS = 16

const startHouse = () =>
  startStack({ redisUrl: redis.url, accounts: allAccounts({ receiptToken: token }), onEnd })

/** As Kaleyra posts it ("Status Update Webhooks"). */
const kaleyraReceipt = (requestId: string, status: string) => ({
  meta_object: {
    value: { statuses: [{ id: requestId, status, timestamp: String(Math.floor(Date.now() / 1_000)) }] },
    field: 'messages',
  },
})

/** Posts receipts in a random order, each until it is acknowledged, as providers do. */
function bring(stack: Stack, receipts: { requestId: string; status: string }[]) {
  const left = receipts
    .map((receipt) => ({ receipt, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ receipt }) => receipt)
  const refused = new Set<number | string>()
  let acknowledged = 0
  const post = async ({ requestId, status }: { requestId: string; status: string }) => {
    const response = await fetch(`${stack.apiUrl}/v1/receipts/kaleyra-in?token=${token}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(kaleyraReceipt(requestId, status)),
    })
    await response.text()
    return response.status
  }
  const senders = Array.from({ length: SENDERS }, async () => {
    for (let receipt = left.pop(); receipt; receipt = left.pop()) {
      for (;;) {
        const status = await post(receipt).catch(() => 'no answer')
        if (status === 200) break
        refused.add(status)
        await sleep(20)
      }
      acknowledged++
    }
  })
  return {
    refused,
    async until(share: number): Promise<void> {
      while (acknowledged < share * receipts.length) await sleep(5)
    },
    done: Promise.all(senders),
  }
}

/** Messages that nobody may get twice, a few at a time, each until it is accepted. */
function keepSending(stack: Stack) {
  const ids: string[] = []
  let stopped = false
  const sent = (async () => {
    for (let batch = 0; !stopped; await sleep(50)) {
      const messages = Array.from({ length: 5 }, (_, number) => ({
        account: 'kaleyra-in',
        to: `919${String(batch * 5 + number).padStart(9, '0')}`,
        message: replyButtons(),
      }))
      const key = { 'idempotency-key': `batch-${batch}` }
      const answer = await stack.call('POST', '/v1/messages/batch', { messages }, key).catch(() => undefined)
      const accepted: { id?: string }[] = answer?.status === 202 ? answer.body.results : []
      if (accepted.length === 0 || accepted.some(({ id }) => id === undefined)) continue
      ids.push(...accepted.map(({ id }) => id!))
      batch++
    }
  })()
  return async (): Promise<string[]> => {
    stopped = true
    await sent
    return ids
  }
}

const heardAll = ({ receipts = [] }: { receipts?: { status: string }[] }) => {
  const words = new Set(receipts.map(({ status }) => status))
  return statuses.every((status) => words.has(status))
}

describe('receipts', () => {
  it('that were acknowledged are applied, each, though API, worker and Redis are killed in the middle of sends', {
    timeout: 240_000,
  }, async () => {
    const stack = await startHouse()
    let api = await stack.startApi()
    const worker = await stack.startWorker()
    await stack.startWorker()
    const messages = Array.from({ length: 600 }, (_, number) => ({
      account: 'kaleyra-in',
      to: `9198765${String(number).padStart(5, '0')}`,
      message: reaction(),
    }))
    const ids = await stack.sendAll(messages)
    const submitted = await stack.untilAll(ids, ['submitted'])
    // From here on the simulator tells of what is sent meanwhile, as long as it takes.
    await stack.control('PUT', 'accounts/kaleyra/919000000000', {
      receiptUrl: `${stack.apiUrl}/v1/receipts/kaleyra-in`,
      receiptToken: token,
    })
    await stack.control('PUT', 'receipt-rules', {
      rules: [{ statuses, delay: { uniform: { minMs: 0, maxMs: 300 } }, order: 'shuffled' }],
    })
    await stack.control('PUT', 'receipt-sender', { retryDelaysMs: Array(50).fill(500) })
    const stopSending = keepSending(stack)
    const load = bring(
      stack,
      submitted.flatMap(({ request_id }) => statuses.map((status) => ({ requestId: request_id!, status }))),
    )
    await load.until(0.25)
    await stack.kill(api)
    api = await stack.startApi()
    await load.until(0.5)
    await stack.kill(worker)
    await load.until(0.75)
    await redis.kill()
    await sleep(200)
    await redis.start()
    await load.done
    // Somebody did notice.
    expect(load.refused).toContain('no answer')
    await sleep(500)
    const meanwhile = await stopSending()

    // What the killed worker had claimed and not sent is uncertain for good; what it had sent is proved to have arrived.
    await stack.untilAll(meanwhile, ['read', 'uncertain'], 90_000)
    const requests = await stack.requests({ detail: 'false' })
    const sent = new Map<string, number>()
    for (const { reference } of requests) sent.set(reference!, (sent.get(reference!) ?? 0) + 1)
    expect([...sent.values()].every((times) => times === 1)).toBe(true)
    expect(requests.length).toBeGreaterThan(ids.length)
    const told = meanwhile.filter((id) => sent.has(id))
    const silent = meanwhile.filter((id) => !sent.has(id))
    for (const { state } of await Promise.all(silent.map((id) => stack.read(id))))
      expect(state).toBe('uncertain')

    // Entries of the dead worker are given up after ten seconds.
    const deadline = performance.now() + 60_000
    let missing = [...ids, ...told]
    while (missing.length > 0 && performance.now() < deadline) {
      const found = await Promise.all(missing.map((id) => stack.read(id)))
      missing = missing.filter((_, at) => found[at]!.state !== 'read' || !heardAll(found[at]!))
      await sleep(200)
    }
    expect(missing).toEqual([])
    await expect.poll(async () => (await stack.control('GET', 'receipts/summary')).pending).toBe(0)
    expect(await stack.control('GET', 'receipts/summary')).toMatchObject({ 'given-up': 0 })
    const unmatched = await stack.call('GET', '/v1/receipts?unmatched=true')
    expect(unmatched.body.items).toEqual([])
    const metrics = await fetch(`${stack.apiUrl}/metrics`, {
      headers: { authorization: `Bearer ${stack.key}` },
    })
    expect(await metrics.text()).toMatch(/^wa_dispatch_receipts_waiting\{account="kaleyra-in"\} 0$/m)
  })
})
