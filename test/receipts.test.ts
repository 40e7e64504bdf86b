/** Receipts across processes: what was acknowledged is applied, whoever dies in the middle. */
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'
import { allAccounts, reaction, type Stack, startStack } from './stack.ts'

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

describe('receipts', () => {
  it('that were acknowledged are applied, each, though API, worker and Redis are killed in the middle', {
    timeout: 180_000,
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

    // Entries of the dead worker are given up after ten seconds.
    const deadline = performance.now() + 60_000
    let missing = ids
    while (missing.length > 0 && performance.now() < deadline) {
      const found = await Promise.all(missing.map((id) => stack.call('GET', `/v1/messages/${id}`)))
      missing = missing.filter((_, at) => {
        const { state, receipts = [] } = found[at]!.body
        const words = new Set(receipts.map((receipt: { status: string }) => receipt.status))
        return state !== 'read' || statuses.some((status) => !words.has(status))
      })
      await sleep(200)
    }
    expect(missing).toEqual([])
    const unmatched = await stack.call('GET', '/v1/receipts?unmatched=true')
    expect(unmatched.body.items).toEqual([])
    const metrics = await fetch(`${stack.apiUrl}/metrics`, {
      headers: { authorization: `Bearer ${stack.key}` },
    })
    expect(await metrics.text()).toMatch(/^wa_dispatch_receipts_waiting\{account="kaleyra-in"\} 0$/m)
    // Not one of them was a reason to send again.
    expect(await stack.requests()).toHaveLength(ids.length)
  })
})
