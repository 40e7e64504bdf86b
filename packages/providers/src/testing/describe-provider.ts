/** The contract that every adapter passes, over real HTTP on loopback. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Content } from '../content.ts'
import { createHttp } from '../http.ts'
import type { JsonProvider } from '../json-provider.ts'
import type { SendOutcome } from '../provider.ts'
import { type ProviderFixtures, reaction, replyButtons } from './fixtures.ts'
import { describeForeignAnswers } from './foreign-answers.ts'
import { type Loopback, startHttp } from './loopback.ts'
import { describeLostConnections } from './lost-connections.ts'
import { describeReceipts } from './receipts.ts'

/** What the parts of the contract need to send one message and look at its outcome. */
export interface Bench {
  provider: JsonProvider
  fixtures: ProviderFixtures
  /** Content that this provider carries. */
  content: Content
  /** One attempt against a server that answers as told. */
  answered(reply: CannedReply, content?: Content): Promise<SendOutcome>
  /** One attempt against any base URL. */
  send(baseUrl: string, more?: SendMore): Promise<SendOutcome>
}

export interface CannedReply {
  status: number
  headers?: Record<string, string>
  body: string | Buffer
}

interface SendMore {
  content?: Content
  id?: string
  to?: string
  account?: object
  timeoutMs?: number
}

/** Headers that belong to the transport and not to the provider's document. */
const transportHeaders = ['host', 'connection', 'content-length', 'user-agent']

export function describeProvider<Account>(
  provider: JsonProvider<Account>,
  fixtures: ProviderFixtures<Account>,
): void {
  const http = createHttp({ connections: 100 })
  const replies = new Map<string, CannedReply>()
  let server: Awaited<ReturnType<typeof startHttp>>
  const content = [reaction, replyButtons()].find((one) => provider.refuse(one).length === 0) ?? reaction

  const send: Bench['send'] = async (baseUrl, { timeoutMs = 5_000, ...more } = {}) => {
    const account = { ...fixtures.account, baseUrl, timeoutMs, ...more.account }
    const message = { id: 'msg_1', to: '919876543210', content, ...more }
    const outcome = await provider.send(message, { account, http })
    expectNoSecret(outcome, provider.secrets, fixtures.account)
    return outcome
  }
  let calls = 0
  const answered: Bench['answered'] = (reply, one = content) => {
    // The base URL may have a path: it tells the attempts of concurrent tests apart.
    const key = `reply-${++calls}`
    replies.set(key, reply)
    return send(`${server.url}/${key}`, { content: one })
  }

  beforeAll(async () => {
    server = await startHttp(({ path }, response) => {
      const reply = replies.get(path.split('/')[1] ?? '')
      response.writeHead(reply?.status ?? 200, reply?.headers).end(reply?.body ?? '{}')
    })
  })
  afterAll(() => closeAll([server], http))

  describe.concurrent(`${provider.name}: requests as the documents print them`, () => {
    test.for(fixtures.requests)('$name', async (fixture) => {
      const { id, to, account, expected } = fixture
      const capture = await startHttp((_, response) => response.end('{}'))
      const ids = { ...(id && { id }), ...(to && { to }) }
      // A base URL with a slash at its end is the same base URL.
      await send(`${capture.url}/`, { content: fixture.content, ...ids, ...(account && { account }) })
      await capture.close()
      expect(capture.received).toHaveLength(1)
      const [{ method, path, headers, body } = { method: '', path: '', headers: {}, body: '' }] =
        capture.received
      const own = Object.entries(headers).filter(([name]) => !transportHeaders.includes(name))
      expect({ method, path, headers: Object.fromEntries(own) }).toEqual({
        method: expected.method,
        path: expected.path,
        headers: expected.headers,
      })
      const document = typeof expected.body === 'string' ? JSON.parse(expected.body) : expected.body
      expect(JSON.parse(body)).toStrictEqual(document)
    })
  })

  describe.concurrent(`${provider.name}: documented answers`, () => {
    test.for(fixtures.replies)('$name', async ({ row, reply, outcome, ...fixture }) => {
      const body = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body)
      const headers = { 'content-type': 'application/json', ...reply.headers }
      expect(await answered({ status: reply.status, headers, body }, fixture.content)).toEqual(outcome)
      if (row === undefined) return
      const declared = provider.outcomes[row]
      expect(declared, `the table has no row ${row}`).toBeDefined()
      const { outcome: name, ...rest } = declared ?? { outcome: undefined }
      expect(outcome).toMatchObject({ outcome: name, ...('kind' in rest && { kind: rest.kind }) })
    })
  })

  describe(`${provider.name}: what it cannot carry is refused with the field named`, () => {
    test.for(fixtures.refusals)('$name', ({ content: one, issues }) => {
      expect(provider.refuse(one).map(({ path }) => ({ path }))).toEqual(issues)
    })
    test('what its documents show is not refused', () => {
      for (const fixture of fixtures.requests) expect(provider.refuse(fixture.content)).toEqual([])
    })
  })

  describeAccount(provider, fixtures)
  const bench: Bench = { provider: provider as JsonProvider, fixtures, content, answered, send }
  describeForeignAnswers(bench)
  describeLostConnections(bench)
  describeReceipts(provider, fixtures)
}

function describeAccount<Account>(provider: JsonProvider<Account>, fixtures: ProviderFixtures<Account>) {
  const fields = Object.keys(fixtures.account as object)
  const parse = (change: object) => provider.accountSchema.safeParse({ ...fixtures.account, ...change })

  describe(`${provider.name}: accounts`, () => {
    test('the account of its fixtures fits, and its secrets are fields of it', () => {
      expect(parse({}).success).toBe(true)
      expect(fields).toEqual(expect.arrayContaining([...provider.secrets]))
      expect(provider.secrets.length).toBeGreaterThan(0)
    })
    test('an unknown field is refused', () => expect(parse({ unknown: 'x' }).success).toBe(false))
    test.for(fields)('%s must be there, not empty, and safe to put into a request', (field) => {
      for (const value of [undefined, '', 'a\r\nx: y', 'tab\there', 'nul\0', 7, null]) {
        const { success, error } = parse({ [field]: value })
        expect(success, JSON.stringify(value)).toBe(false)
        expect(error?.issues[0]?.path).toEqual([field])
      }
    })
    test('a fault never repeats a secret', () => {
      for (const field of provider.secrets) {
        const { error } = parse({ [field]: 'sk_leaked secret' })
        expect(error).toBeDefined()
        expect(JSON.stringify(error?.issues)).not.toContain('leaked')
      }
    })
  })
}

function expectNoSecret(outcome: SendOutcome, secrets: readonly string[], account: unknown): void {
  const text = JSON.stringify(outcome)
  for (const field of secrets) expect(text).not.toContain((account as Record<string, string>)[field])
}

async function closeAll(servers: Loopback[], http: { close(): void }): Promise<void> {
  http.close()
  for (const server of servers) await server.close()
}
