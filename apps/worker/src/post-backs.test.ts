/** The loop that tells callers, with real receivers on loopback; the outbox is the interface's shortest one. */
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  createDeliverer,
  createMessageId,
  createSigner,
  type Deliverer,
  type PostBack,
  type PostBackOutbox,
  type PostBackSettlement,
  parseAllowList,
  ReceiverGuard,
  ReceiverRooms,
  receiverOf,
  type Signer,
} from '@wa-dispatch/dispatch'
import { type Received, startHttp } from '@wa-dispatch/providers/testing'
import { pino } from 'pino'
import { Webhook } from 'standardwebhooks'
import { afterEach, expect, test } from 'vitest'
import { PostBacks, type PostBacksOptions } from './post-backs.ts'

const account = 'kaleyra-in'
const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

interface Waiting extends PostBack {
  due: number
  taken: boolean
  settled: PostBackSettlement[]
}

/** Honours the interface, in memory; retries are due at once, and as often as the test allows. */
class MemoryOutbox implements PostBackOutbox {
  readonly all: Waiting[] = []
  mostTaken = 0
  /** What the next calls fail with, as when Redis is away. */
  readonly faults = { take: 0, settle: 0 }

  add(url: string | undefined, events = 1, receiver = url ? receiverOf(url) : 'r'): Waiting[] {
    const id = createMessageId(1, this.all.length)
    const states = ['submitted', 'sent', 'delivered', 'read'] as const
    const added = states.slice(0, events).map(
      (state, index): Waiting => ({
        id,
        event: index + 1,
        eventId: `evt_${id.text.slice(4)}_${index + 1}`,
        state,
        at: Date.now(),
        tries: 0,
        receiver,
        ...(url && { url }),
        to: '919876543210',
        campaign: url ? 0 : 3,
        reference: 'order-1042',
        due: 0,
        taken: false,
        settled: [],
      }),
    )
    this.all.push(...added)
    return added
  }

  async takePostBacks(_: string, most: number, room: Map<string, number>, roomForOthers: number) {
    if (this.faults.take-- > 0) throw new Error('Redis is away')
    const left = new Map(room)
    const taken: PostBack[] = []
    for (const postBack of this.all) {
      if (taken.length >= most) break
      const { receiver, id, event } = postBack
      const its = left.get(receiver) ?? roomForOthers
      const first = this.all.find((other) => other.id === id && !isOver(other))
      if (its <= 0 || postBack.taken || isOver(postBack) || first?.event !== event) continue
      left.set(receiver, its - 1)
      postBack.taken = true
      taken.push(postBack)
    }
    this.mostTaken = Math.max(this.mostTaken, taken.length)
    return taken
  }

  async settlePostBack({ text }: PostBack['id'], event: number, settlement: PostBackSettlement) {
    if (this.faults.settle-- > 0) throw new Error('Redis is away')
    const postBack = this.all.find(({ id, event: its }) => id.text === text && its === event)!
    postBack.settled.push(settlement)
    postBack.firstTriedAt ??= Date.now()
    postBack.tries++
    postBack.taken = false
  }

  now = async () => Date.now()
}

const isOver = ({ settled }: Waiting) => typeof settled.at(-1)?.next === 'string'

interface Counted {
  outcomes: Record<string, number>
  dead: number
}

function run(outbox: MemoryOutbox, given: Partial<PostBacksOptions> = {}, allow = '127.0.0.1') {
  const lines: string[] = []
  const counted: Counted = { outcomes: {}, dead: 0 }
  const deliverer: Deliverer = createDeliverer({
    guard: new ReceiverGuard(parseAllowList(allow).list),
    signer: createSigner(secret) as Signer,
  })
  const postBacks = new PostBacks({
    accounts: [account],
    outbox,
    deliverer,
    urlOf: async () => undefined,
    metrics: {
      postBackAttempted: (_, outcome) => {
        counted.outcomes[outcome] = (counted.outcomes[outcome] ?? 0) + 1
      },
      postBackDead: () => counted.dead++,
    },
    log: pino({ level: 'info' }, { write: (line: string) => lines.push(line) }),
    ...given,
  })
  closers.push(() => {
    deliverer.close()
    return postBacks.close()
  })
  postBacks.start()
  return { postBacks, counted, lines }
}

async function receiver(answer: (response: ServerResponse, received: Received, time: number) => void) {
  let time = 0
  const server = await startHttp((received, response) => answer(response, received, ++time))
  closers.push(() => server.close())
  return server
}
const ok = (response: ServerResponse) => response.writeHead(204).end()

const until = async (holds: () => boolean) => {
  while (!holds()) await sleep(10)
}

test('the events of a message arrive in order, each with its own id, and verify', async () => {
  const server = await receiver(ok)
  const outbox = new MemoryOutbox()
  const events = outbox.add(`${server.url}/hook`, 4)
  const { counted } = run(outbox)
  await until(() => events.every(isOver))
  const told = server.received.map(({ body, headers }) =>
    new Webhook(secret).verify(body, headers as Record<string, string>),
  )
  expect(told).toMatchObject([
    { type: 'message.submitted' },
    { type: 'message.sent' },
    { type: 'message.delivered' },
    { type: 'message.read' },
  ])
  expect(server.received.map(({ headers }) => headers['webhook-id'])).toEqual(
    events.map(({ eventId }) => eventId),
  )
  expect(counted).toEqual({ outcomes: { delivered: 4 }, dead: 0 })
})

test('what fails is tried again under the same id, later each time, and what comes after it waits', async () => {
  const server = await receiver((response, _, time) => {
    if (time <= 2) response.writeHead(503, time === 2 ? { 'retry-after': '3600' } : {}).end()
    else ok(response)
  })
  const outbox = new MemoryOutbox()
  const events = outbox.add(server.url, 2)
  run(outbox)
  await until(() => events.every(isOver))
  const ids = server.received.map(({ headers }) => headers['webhook-id'])
  const [first, second] = events.map(({ eventId }) => eventId)
  expect(ids).toEqual([first, first, first, second])
  expect(events[0]!.settled).toMatchObject([
    { code: '503', next: { inMs: expect.any(Number) } },
    { code: '503', next: { inMs: 3_600_000 } },
    { code: '204', next: 'delivered' },
  ])
})

test('who says that it is gone, what must not be reached and what nobody knows is dead at once', async () => {
  const gone = await receiver((response) => response.writeHead(410).end())
  const outbox = new MemoryOutbox()
  const cases = [
    ...outbox.add(gone.url),
    ...outbox.add('http://localhost:1/'),
    ...outbox.add('http://169.254.169.254/latest'),
    ...outbox.add(undefined),
  ]
  const { counted } = run(outbox, {}, `127.0.0.1:${gone.port}`)
  await until(() => cases.every(isOver))
  expect(cases.map(({ settled }) => settled.map(({ code, next }) => [code, next]))).toEqual([
    [['410', 'dead']],
    [['ERR_ADDRESS_REFUSED', 'dead']],
    [['ERR_ADDRESS_REFUSED', 'dead']],
    [['NO_URL', 'dead']],
  ])
  expect(counted).toEqual({ outcomes: { gone: 1, 'refused-address': 2, 'no-url': 1 }, dead: 4 })
})

test('a campaign is asked once where its messages’ post-backs go', async () => {
  const server = await receiver(ok)
  const outbox = new MemoryOutbox()
  for (let row = 0; row < 100; row++) outbox.add(undefined)
  const asked: unknown[] = []
  run(outbox, {
    urlOf: async (...campaign) => {
      asked.push(campaign)
      return server.url
    },
  })
  await until(() => outbox.all.every(isOver))
  expect(server.received).toHaveLength(100)
  expect(asked).toEqual([[account, 3]])
})

test('a thousand receivers that are well do not wait for the ones that hang', async () => {
  const hanging = await receiver(() => undefined)
  const server = await receiver(ok)
  const outbox = new MemoryOutbox()
  for (let message = 0; message < 500; message++) outbox.add(`${hanging.url}/${message}`)
  const well = Array.from({ length: 1_000 }, (_, index) =>
    outbox.add(`http://r${index}.localhost:${server.port}/`, 2),
  ).flat()
  run(outbox)
  await until(() => well.every(isOver))
  // None of the hanging ones had ended by then: whoever waits for one waits longer than this test did.
  expect(outbox.all.filter(({ url, settled }) => url?.startsWith(hanging.url) && settled.length > 0)).toEqual(
    [],
  )
  expect(hanging.received.length).toBeLessThanOrEqual(10)
  expect(hanging.received.length).toBeGreaterThan(0)
})

test('many receivers that hang leave room for the others', async () => {
  const hanging = await receiver(() => undefined)
  const server = await receiver(ok)
  const outbox = new MemoryOutbox()
  for (let name = 0; name < 30; name++)
    for (let message = 0; message < 20; message++) outbox.add(`http://r${name}.localhost:${hanging.port}/`)
  const { postBacks } = run(outbox)
  await until(() => postBacks.inFlight >= 150)
  const well = Array.from({ length: 100 }, () => outbox.add(server.url)).flat()
  await until(() => well.every(isOver))
  expect(hanging.received.length).toBeLessThan(200)
})

test('stopping waits for what is under way and takes no more', async () => {
  const held: ServerResponse[] = []
  const server = await receiver((response) => held.push(response))
  const outbox = new MemoryOutbox()
  for (let message = 0; message < 50; message++) outbox.add(server.url)
  const { postBacks } = run(outbox)
  await until(() => held.length === 10)
  let closed = false
  const closing = postBacks.close().then(() => {
    closed = true
  })
  await sleep(300)
  expect(closed).toBe(false)
  for (const response of held) ok(response)
  await closing
  expect(outbox.all.filter(isOver)).toHaveLength(10)
  expect(outbox.all.filter(({ taken }) => taken)).toEqual([])
  expect(postBacks.inFlight).toBe(0)
  expect(server.received).toHaveLength(10)
})

test('stopping does not wait for a Redis that is away', async () => {
  const server = await receiver(ok)
  const outbox = new MemoryOutbox()
  outbox.add(server.url)
  outbox.settlePostBack = () => new Promise(() => undefined)
  const { postBacks } = run(outbox)
  await until(() => server.received.length === 1)
  outbox.takePostBacks = () => new Promise(() => undefined)
  await sleep(300)
  await postBacks.close()
  expect(outbox.all.filter(isOver)).toEqual([])
}, 15_000)

test('a Redis that is away for a while loses nothing and sends nothing twice', async () => {
  const server = await receiver(ok)
  const outbox = new MemoryOutbox()
  outbox.faults.take = 2
  outbox.faults.settle = 3
  for (let message = 0; message < 5; message++) outbox.add(server.url)
  const { lines } = run(outbox)
  await until(() => outbox.all.every(isOver))
  expect(server.received).toHaveLength(5)
  expect(lines.filter((line) => line.includes('post_backs.failed'))).toHaveLength(2)
})

test('one line a try, without path, query, recipient, body or secret', async () => {
  const server = await receiver((response, _, time) =>
    response.writeHead(time === 1 ? 500 : 204).end('sesame'),
  )
  const outbox = new MemoryOutbox()
  const [event] = outbox.add(`${server.url}/hook/sesame?token=sesame`)
  const { lines } = run(outbox)
  await until(() => isOver(event!) && lines.length === 2)
  const common = {
    msg: 'post_back.attempted',
    message: event!.id.text,
    account,
    event: 1,
    state: 'submitted',
    host: `127.0.0.1:${server.port}`,
    duration_ms: expect.any(Number),
  }
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { ...common, attempt: 1, outcome: 'failed', code: '500', next: 'again', next_in_ms: expect.any(Number) },
    { ...common, attempt: 2, outcome: 'delivered', code: '204', next: 'delivered' },
  ])
  for (const word of ['sesame', '919876543210', 'order-1042', secret, 'hook'])
    expect(lines.join()).not.toContain(word)
})

test('a receiver that is well gets more at once, one that is not gets fewer, and a slow one no more', () => {
  const rooms = new ReceiverRooms(200)
  const again = (name: string, times: number, ...how: [boolean, number]) => {
    for (let time = 0; time < times; time++) {
      rooms.began(name)
      rooms.ended(name, ...how)
    }
    return rooms.rooms().room.get(name)
  }
  expect(rooms.rooms().roomForOthers).toBe(10)
  expect(again('well', 5, true, 20)).toBe(15)
  expect(again('well', 100, true, 20)).toBe(50)
  expect(again('slow', 5, true, 9_000)).toBe(10)
  expect(again('ill', 1, false, 20)).toBe(5)
  expect(again('ill', 9, false, 20)).toBe(1)
  expect(again('ill', 1, true, 20)).toBe(2)
  expect(again('well', 1, false, 20)).toBe(25)
})
