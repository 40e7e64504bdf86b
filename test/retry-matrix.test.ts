/**
 * For each documented error of each provider: how many attempts there are, how far apart, and how it ends.
 * The provider's errors are the simulator's; all rows run at the same time, each with a recipient of its own.
 *
 * An account stops where sending is pointless, so each row that stops it has a lane to itself; the others share lanes
 * with so few attempts on them that no lane stops because most of them came to nothing.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'
import { allAccounts, reaction, replyButtons, type Stack, startStack } from './stack.ts'

const DELAYS_MS = [200, 400, 800]
const JITTER = 0.1

interface Row {
  account: string
  name: string
  effect: Record<string, unknown>
  /** How often the fault strikes; always by default. */
  times?: number
  state: string
  outcomes: string[]
  error?: Record<string, unknown>
  message?: Record<string, unknown>
  /** Between the attempts, at least; milliseconds. */
  gapsMs?: number[]
}

const error = (name: string, more: Record<string, unknown> = {}) => ({ kind: 'error', name, ...more })
const refused = (
  account: string,
  name: string,
  code: string,
  kind: string,
  more: Partial<Row> = {},
): Row => ({
  account,
  name,
  effect: error(name),
  state: 'failed',
  outcomes: ['rejected'],
  error: { code, kind, at: 'submit' },
  ...more,
})
const retried = (account: string, name: string, code: string): Row => ({
  account,
  name: `${name} for good`,
  effect: error(name),
  state: 'failed',
  outcomes: ['unavailable', 'unavailable', 'unavailable', 'unavailable'],
  error: { code, kind: 'unavailable', at: 'submit' },
  gapsMs: DELAYS_MS,
})
const recovered = (account: string, name: string): Row => ({
  account,
  name: `${name} twice`,
  effect: error(name),
  times: 2,
  state: 'submitted',
  outcomes: ['unavailable', 'unavailable', 'accepted'],
  gapsMs: DELAYS_MS.slice(0, 2),
})
const held = (
  account: string,
  name: string,
  effect: Record<string, unknown>,
  message = replyButtons(),
): Row => ({
  account,
  name: `${name}, reply buttons`,
  effect,
  message,
  state: 'uncertain',
  outcomes: ['uncertain'],
})
/** A reaction may be sent again, unless a 2xx came. */
const repeated = (account: string, name: string, effect: Record<string, unknown>): Row => ({
  account,
  name: `${name}, reaction`,
  effect,
  times: 1,
  message: reaction(),
  state: 'submitted',
  outcomes: ['uncertain', 'accepted'],
  gapsMs: DELAYS_MS.slice(0, 1),
})

/** Zixflow's `success: true` can be read, whatever stands where the request id should be. */
const garbage = (account: string) => [
  'html',
  'empty',
  'truncated-json',
  'large-text',
  ...(account === 'zixflow-ai' ? [] : ['array-data']),
]

const rows: Row[] = [
  refused('kaleyra-in', 'RBC001', 'RBC001', 'credentials'),
  refused('kaleyra-in', 'WA401', 'WA401', 'credentials'),
  refused('kaleyra-in', 'WA400', 'WA400', 'content'),
  refused('kaleyra-in', 'E110', 'E110', 'balance'),
  refused('kaleyra-in', 'WA-401:account', 'WA-401', 'account'),
  refused('kaleyra-in', 'WA-401:phone_number', 'WA-401', 'account'),
  retried('kaleyra-in', 'WA500', 'WA500'),
  recovered('kaleyra-in', 'WA500'),
  refused('gupshup-main', '401', 'HTTP_401', 'credentials'),
  refused('gupshup-main', 'callback-billing', 'HTTP_400', 'account'),
  refused('gupshup-main', 'invalid-app', 'HTTP_400', 'account'),
  retried('gupshup-main', '500', 'HTTP_500'),
  recovered('gupshup-main', '500'),
  ...['zixflow-ai', 'zixflow-old'].map((account) => ({
    ...refused(account, 'failure, with a text', 'HTTP_400', 'content'),
    effect: error('failure', { message: 'The user session is not active', status: 400 }),
    error: { code: 'HTTP_400', kind: 'content', message: 'The user session is not active', at: 'submit' },
  })),
  refused('zixflow-ai', '401', 'HTTP_401', 'credentials'),
  refused('zixflow-ai', 'unknown-phone-id', 'HTTP_400', 'content'),
  retried('zixflow-ai', '500', 'HTTP_500'),
  recovered('zixflow-ai', '500'),
  refused('zixflow-old', '401', 'HTTP_401', 'credentials'),
  refused('zixflow-old', 'unknown-phone-id', 'HTTP_400', 'content'),
  retried('zixflow-old', '500', 'HTTP_500'),
  recovered('zixflow-old', '500'),
  ...['kaleyra-in', 'gupshup-main', 'zixflow-ai', 'zixflow-old'].flatMap((account) => [
    held(account, 'lost response', { kind: 'lost-response' }),
    held(account, 'reset after the body', { kind: 'reset-after-body' }),
    held(account, 'a bare 500', { kind: 'answer', status: 500, body: '<html>Internal Server Error</html>' }),
    {
      ...retried(account, 'a bare 503', 'HTTP_503'),
      effect: { kind: 'answer', status: 503, body: '' },
    },
    held(account, 'a bare 502', { kind: 'answer', status: 502, body: '<html>Bad Gateway</html>' }),
    held(account, 'a bare 504', { kind: 'answer', status: 504, body: '' }),
    held(account, 'no answer in time', { kind: 'hang' }),
    ...garbage(account).map((name) => held(account, `garbage: ${name}`, { kind: 'garbage', garbage: name })),
  ]),
  ...['kaleyra-in', 'gupshup-main', 'zixflow-ai'].flatMap((account) => [
    repeated(account, 'lost response', { kind: 'lost-response' }),
    repeated(account, 'a bare 502', { kind: 'answer', status: 502, body: '' }),
    ...garbage(account).map((name) =>
      held(
        account,
        `garbage, and even a reaction: ${name}`,
        { kind: 'garbage', garbage: name },
        reaction() as never,
      ),
    ),
  ]),
]

const stopsLane = (row: Row) =>
  ['balance', 'credentials', 'account', 'policy'].includes(String(row.error?.kind))
/** With fewer attempts than this, nobody judges a provider by them. */
const FEW_ATTEMPTS = 20

const lanes: { id: string; account: string; attempts: number }[] = []
const laneOf = new Map(rows.map((row) => [row, laneFor(row)]))

function laneFor(row: Row): string {
  const { account, outcomes } = row
  const attempts = stopsLane(row) ? FEW_ATTEMPTS : outcomes.length
  let lane = lanes.find((lane) => lane.account === account && lane.attempts + attempts < FEW_ATTEMPTS)
  if (!lane) {
    lane = { id: `${account}-${lanes.length + 1}`, account, attempts: 0 }
    lanes.push(lane)
  }
  lane.attempts += attempts
  return lane.id
}

const onEnd = endings()
let stack: Stack
const ids = new Map<Row, string>()
async function accountOf(row: Row) {
  const { body } = await stack.call('GET', '/v1/accounts')
  return body.items.find(({ id }: { id: string }) => id === laneOf.get(row))
}
const recipient = (row: Row) => String(919_800_000_000 + rows.indexOf(row))

beforeAll(async () => {
  const redis = await useRedis(onEnd)
  stack = await startStack({
    onEnd,
    redisUrl: redis.url,
    accounts: lanes.map(({ id, account }) => ({
      ...allAccounts({ retry: { unavailable: { delaysMs: DELAYS_MS } } }).find((each) => each.id === account),
      id,
    })),
    env: { LOG_LEVEL: 'warn' },
  })
  await stack.startApi()
  await stack.startWorker()
  await stack.faults(
    ...rows.map((row) => ({
      recipient: recipient(row),
      effect: row.effect,
      ...(row.times && { times: row.times }),
    })),
  )
  const sent = await stack.sendAll(
    rows.map((row) => ({
      account: laneOf.get(row),
      to: recipient(row),
      message: row.message ?? replyButtons(),
    })),
  )
  for (const [index, row] of rows.entries()) ids.set(row, sent[index]!)
}, 60_000)

describe('each documented error and each way of not getting an answer', () => {
  test.each(rows.map((row) => [`${row.account}: ${row.name}`, row] as const))('%s', async (_name, row) => {
    const message = await stack.until(ids.get(row)!, [row.state], 15_000)
    expect(message.attempts.map(({ outcome }) => outcome)).toEqual(row.outcomes)
    if (row.error) expect(message.error).toMatchObject(row.error)
    if (row.state === 'submitted') expect(message.error).toBeNull()
    const requests = await stack.requests({ recipient: recipient(row), detail: 'false' })
    expect(requests).toHaveLength(row.outcomes.length)
    for (const [index, gapMs] of (row.gapsMs ?? []).entries()) {
      const measured = requests[index + 1]!.atMs - requests[index]!.atMs
      expect(measured).toBeGreaterThanOrEqual(gapMs * 0.95)
      expect(measured).toBeLessThan(gapMs * (1 + JITTER) + 1_500)
    }
    const { breaker } = await accountOf(row)
    if (stopsLane(row)) {
      const { code, kind } = row.error!
      expect(breaker).toMatchObject({ state: 'open', reason: { code, kind } })
    } else expect(breaker).toEqual({ state: 'closed' })
  })
})

describe('a connection that never came about', () => {
  test('is tried again like an unavailable provider, and fails with its code', async () => {
    const redis = await useRedis(onEnd)
    const away = await startStack({
      onEnd,
      redisUrl: redis.url,
      accounts: allAccounts({
        baseUrl: 'http://127.0.0.1:9',
        retry: { unavailable: { delaysMs: [50, 50] } },
      }).slice(0, 1),
      env: { LOG_LEVEL: 'warn' },
    })
    await away.startApi()
    await away.startWorker()
    const id = await away.send({ account: 'kaleyra-in', to: '919876543210', message: replyButtons() })
    const message = await away.until(id, ['failed'])
    expect(message.attempts.map(({ outcome, code }) => [outcome, code])).toEqual(
      Array(3).fill(['unavailable', 'ECONNREFUSED']),
    )
    expect(message.error).toMatchObject({ code: 'ECONNREFUSED', kind: 'unavailable' })
  })
})
