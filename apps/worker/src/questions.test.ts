import { setTimeout as sleep } from 'node:timers/promises'
import {
  addToLane,
  connectLanes,
  createLane,
  Ledger,
  Limiter,
  type MessageId,
  parseAccounts,
  Questions,
} from '@wa-dispatch/dispatch'
import { createHttp } from '@wa-dispatch/providers'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { endings } from '../../../test/endings.ts'
import { useRedis } from '../../../test/redis.ts'
import { Asker } from './questions.ts'

const onEnd = endings()

test('while messages wait, all workers together take few of the turns for questions', async () => {
  const redis = new Redis((await useRedis(onEnd)).url)
  const laneRedis = connectLanes(redis)
  onEnd(async () => redis.disconnect())
  onEnd(async () => laneRedis.disconnect())
  const ledger = new Ledger({ redis, retentionDays: 7 })
  const zixflow = { id: 'zixflow', provider: 'zixflow', apiKey: 'k', workspaceId: 'w', phoneId: 'p' }
  const [account] = parseAccounts({ accounts: [{ ...zixflow, rateLimit: { perSecond: 40 } }] }, {})
  await ledger.open(['zixflow'])
  const questions = new Questions(redis, ledger)
  const lane = createLane('zixflow', ledger, laneRedis)
  onEnd(() => lane.close())

  const message = { to: '919876543210', content: '{}', idempotent: false }
  const ids = await ledger.createIds('zixflow', 101)
  await ledger.accept(
    'zixflow',
    ids.map((id) => ({ id, ...message })),
  )
  const [waits, ...submitted] = ids as [MessageId, ...MessageId[]]
  for (const id of submitted) {
    await ledger.claim(id, 0, 5_000, 'token')
    const settlement = { attempt: 1, outcome: 'accepted', code: '200', durationMs: 9, counts: true } as const
    await ledger.settle(id, { ...settlement, state: 'submitted', requestId: id.text })
  }
  await questions.put('zixflow', submitted, await ledger.now())
  const job = {
    id: waits,
    generation: 0,
    to: message.to,
    type: 'text',
    priority: 'bulk',
    delayMs: 0,
  } as const
  await addToLane(lane, [job])

  const http = createHttp({ connections: 1 })
  onEnd(async () => http.close())
  let asked = 0
  const ask = async () => {
    asked++
    return { answer: 'nothing', code: 'HTTP_200', message: 'no status is told' } as const
  }
  const workers = Array.from(
    { length: 5 },
    () =>
      new Asker({
        questions,
        ledger,
        limiter: new Limiter(redis),
        http,
        lanes: [{ account: account!, lane, ask, rest: { since: -1 } }],
        metrics: { receiptApplied: () => undefined },
        log: pino({ level: 'silent' }),
      }),
  )
  const startedAt = performance.now()
  for (const worker of workers) worker.start()
  await sleep(2_000)
  await Promise.all(workers.map((worker) => worker.close()))
  // A tenth of 40 a second.
  const fair = ((performance.now() - startedAt) / 1_000) * 4
  expect(asked).toBeGreaterThan(1)
  expect(asked).toBeLessThanOrEqual(fair + 2)
})
