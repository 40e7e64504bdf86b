/**
 * Requests made from the OpenAPI document itself, near what it allows and beside it: never a 500, never a hang,
 * and every refusal is a problem document. The seed is fixed: a failure can be run again.
 */
import fc, { type Arbitrary } from 'fast-check'
import type { LightMyRequestResponse } from 'fastify'
import { afterAll, describe, expect, it } from 'vitest'
import { useRedis } from '../../../test/redis.ts'
import { campaign, message, startApi } from './testing.ts'

const SEED = 20_261_122
const RUNS = 400
const HANG_MS = 10_000

const redis = await useRedis(afterAll)
const api = await startApi(redis.url)

/** Campaigns that requests may meet, start and cancel. */
async function makeCampaigns(): Promise<string[]> {
  const made = await Promise.all(
    [1, 2, 3].map(() => api.inject({ method: 'POST', url: '/v1/campaigns', payload: campaign() })),
  )
  return made.map((answer) => answer.json().id)
}

interface Schema {
  $ref?: string
  type?: string
  const?: unknown
  enum?: unknown[]
  oneOf?: Schema[]
  anyOf?: Schema[]
  allOf?: Schema[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  format?: string
}
interface Operation {
  parameters?: { name: string; in: 'path' | 'query'; schema: Schema }[]
  requestBody?: { content: Record<string, { schema: Schema }> }
}
const document = (await api.inject({ url: '/openapi.json', key: null })).json() as {
  components: { schemas: Record<string, Schema> }
  paths: Record<string, Record<string, Operation>>
}

const instants = fc
  .date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true })
  .map((date) => date.toISOString())
const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 300 }),
  fc.constantFrom(
    '',
    ' ',
    '\u0000',
    '\ud800',
    '__proto__',
    'constructor',
    '919876543210',
    '+4915112345678',
    '😀',
    '🏳️‍🌈',
  ),
  fc.constantFrom(
    'kaleyra-in',
    'gupshup-main',
    'zixflow-old',
    'https://us.example/a.png',
    "' OR 1=1 --",
    '../..',
  ),
)
const anything = fc.oneof(
  { weight: 3, arbitrary: texts },
  fc.jsonValue({ maxDepth: 3 }),
  fc.double(),
  fc.constant(1e308),
)

/** Values of a schema; now and then something is wrong somewhere in them. */
function near(schema: Schema): Arbitrary<unknown> {
  return fc.oneof({ weight: 40, arbitrary: fit(schema) }, { weight: 1, arbitrary: anything })
}

function fit(schema: Schema): Arbitrary<unknown> {
  if (schema.$ref) return near(document.components.schemas[schema.$ref.split('/').at(-1)!]!)
  if ('const' in schema) return fc.constant(schema.const)
  if (schema.enum) return fc.constantFrom(...schema.enum)
  const choices = schema.oneOf ?? schema.anyOf ?? schema.allOf
  if (choices) return fc.oneof(...choices.map(near))
  switch (schema.type) {
    case 'object':
      return objects(schema)
    case 'array':
      return fc.array(near(schema.items ?? {}), { maxLength: 4 })
    case 'string':
      return schema.format === 'date-time' ? instants : texts
    case 'integer':
    case 'number':
      return fc.oneof(fc.integer(), fc.double())
    default:
      return anything
  }
}

/** What fits although the document cannot say it: without this little would get inside. */
const fitting: Record<string, Arbitrary<unknown>> = {
  name: fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
  message: fc.constantFrom(campaign().message as object, message().message as object),
  account: fc.constantFrom('kaleyra-in', 'gupshup-main', 'zixflow-old'),
  to: fc.stringMatching(/^\+?[1-9]\d{6,14}$/),
  emoji: fc.constantFrom('😀', '', '🏳️‍🌈', '👍🏽'),
  link: fc.constantFrom('https://us.example/a.png', 'http://us.example'),
  text: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
  title: fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 }),
  message_id: fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
  reference: fc.string({ unit: 'binary', minLength: 1, maxLength: 120 }),
  token: fc.constant('receipts-k'),
  unmatched: fc.constant('true'),
  limit: fc.integer({ min: 1, max: 500 }).map(String),
  send_at: fc.constantFrom('2020-01-01T00:00:00Z', new Date(Date.now() + 86_400_000).toISOString()),
  expires_at: fc.constant('2400-01-01T00:00:00.000Z'),
}

const field = (name: string, schema: Schema): Arbitrary<unknown> =>
  name in fitting
    ? fc.oneof({ weight: 30, arbitrary: fitting[name]! }, { weight: 1, arbitrary: near(schema) })
    : near(schema)

function objects({ properties = {}, required = [] }: Schema): Arbitrary<unknown> {
  const fields = Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [name, field(name, schema)]),
  )
  const whole = fc.record(fields, { requiredKeys: required.filter((name) => name in fields) })
  return fc.oneof(
    { weight: 30, arbitrary: whole },
    { weight: 1, arbitrary: fc.record(fields, { requiredKeys: [] }) },
    {
      weight: 1,
      arbitrary: fc.tuple(whole, texts, anything).map(([value, key, more]) => ({ ...value, [key]: more })),
    },
  )
}

/** Values of a header: what node would refuse to send is no test of the server. */
const headerText = fc
  .string({ unit: 'binary-ascii', maxLength: 300 })
  .map((text) => text.replace(/[^\x20-\x7e]/g, '~'))

/** Undefined most of the time. */
const rarely = <Value>(values: Arbitrary<Value>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: values })

interface Body {
  type: string
  payload: string | undefined
}

/** Files of recipients, more or less. */
const cells = fc.oneof(
  fitting.to!,
  texts,
  fc.constantFrom(
    'to',
    'name',
    'reference',
    '',
    '"',
    '"a, b"',
    '{"to":"919876543210","variables":{"name":"Asha"}}',
  ),
)
const files = fc
  .tuple(
    fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom('to,name\n', 'to,reference,name\r\n', '\ufeffto,name\n') },
      { weight: 1, arbitrary: texts },
      { weight: 1, arbitrary: fc.constant('') },
    ),
    fc.array(fc.array(cells, { minLength: 1, maxLength: 4 }), { maxLength: 20 }),
    fc.constantFrom('\n', '\r\n', '\r'),
  )
  .map(([header, lines, end]) => header + lines.map((line) => line.join(',')).join(end))

const requestsOf = (
  path: string,
  method: string,
  { parameters = [], requestBody }: Operation,
  campaigns: string[],
) =>
  fc.record({
    method: fc.constant(method.toUpperCase()),
    ids: fc.oneof(
      texts,
      fc.constantFrom('kaleyra-in', 'msg_00010000000000e0634687', 'msg_0001000000000000000000'),
      fc.constantFrom(...campaigns),
    ),
    query: fc.record(
      Object.fromEntries(
        parameters
          .filter((one) => one.in === 'query')
          .map(({ name }) => [
            name,
            rarely(fc.oneof(fitting[name] ?? texts, texts, fc.nat({ max: 600 }).map(String))),
          ]),
      ),
      { requiredKeys: [] },
    ),
    more: fc.option(fc.tuple(texts, texts), { freq: 8, nil: undefined }),
    headers: fc.record({
      'idempotency-key': rarely(fc.oneof(headerText, fc.constantFrom('one', 'two'))),
      'x-request-id': rarely(headerText),
      'content-type': rarely(headerText),
      'content-encoding': rarely(fc.constantFrom('gzip', 'identity', 'br')),
      accept: rarely(headerText),
    }),
    body: bodiesOf(requestBody),
    path: fc.constant(path),
  })

/** As the document says, of whichever type; a file as the text that it is. */
function bodiesOf(requestBody: Operation['requestBody']): Arbitrary<Body | undefined> {
  const json = (value: unknown): Body => ({ type: 'application/json', payload: JSON.stringify(value) })
  if (!requestBody) {
    return rarely(anything.map(json))
  }
  const bodies = Object.entries(requestBody.content).map(([type, { schema }]): Arbitrary<Body> => {
    if (type === 'application/json') return near(schema).map(json)
    return files.map((payload) => ({ type, payload }))
  })
  return fc.oneof(...bodies)
}

const given = (fields: Record<string, unknown>) =>
  Object.entries(fields).filter((pair): pair is [string, string] => pair[1] !== undefined)

async function within(answer: Promise<LightMyRequestResponse>): Promise<LightMyRequestResponse> {
  let timer: NodeJS.Timeout | undefined
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), HANG_MS)
  })
  return Promise.race([answer, hang]).finally(() => clearTimeout(timer))
}

function expectOrderly(answer: LightMyRequestResponse): void {
  const { statusCode, headers, body } = answer
  expect(statusCode, body).toBeLessThan(500)
  expect(headers['x-request-id']).toMatch(/^[\w.:/+=-]{1,128}$/)
  if (statusCode < 400) return
  expect(headers['content-type']).toBe('application/problem+json; charset=utf-8')
  const problem = JSON.parse(body)
  expect(problem).toMatchObject({
    type: expect.stringMatching(/^urn:wa-dispatch:problem:/),
    title: expect.any(String),
    status: statusCode,
    detail: expect.any(String),
  })
  for (const error of problem.errors ?? []) {
    // Of a field, or of a line of a file.
    const place = 'line' in error ? { line: expect.any(Number) } : { path: expect.any(String) }
    expect(error).toEqual({ ...place, message: expect.stringMatching(/./) })
  }
  expect(body).not.toMatch(/node_modules|\.ts:|\.js:/)
}

const reached = new Map<string, Set<number>>()

describe('whatever is sent', () => {
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      it(`${method.toUpperCase()} ${path} answers in good order`, { timeout: 120_000 }, async () => {
        const statuses = new Set<number>()
        const campaigns = await makeCampaigns()
        reached.set(`${method.toUpperCase()} ${path}`, statuses)
        await fc.assert(
          fc.asyncProperty(
            requestsOf(path, method, operation, campaigns),
            async ({ ids, query, more, headers, body }) => {
              const search = new URLSearchParams([...given(query), ...(more ? [more] : [])]).toString()
              const id = encodeURIComponent(ids.toWellFormed())
              const answer = await within(
                api.inject({
                  method: method.toUpperCase() as 'GET',
                  url: `${path.replace(/\{\w+\}/, id)}${search && `?${search}`}`,
                  headers: {
                    ...(body && { 'content-type': body.type }),
                    ...Object.fromEntries(given(headers)),
                  },
                  ...(method !== 'get' && body?.payload !== undefined && { payload: body.payload }),
                }),
              )
              statuses.add(answer.statusCode)
              expectOrderly(answer)
            },
          ),
          { seed: SEED, numRuns: RUNS, endOnFailure: false },
        )
      })
    }
  }

  it('does reach the inside: messages were accepted and refused', () => {
    expect([...reached.get('POST /v1/messages')!]).toEqual(expect.arrayContaining([202, 400]))
    expect([...reached.get('POST /v1/messages/batch')!]).toEqual(expect.arrayContaining([202, 400]))
    expect([...reached.get('GET /v1/messages')!]).toEqual(expect.arrayContaining([200, 400]))
    expect([...reached.get('POST /v1/campaigns')!]).toEqual(expect.arrayContaining([201, 400]))
    expect([...reached.get('POST /v1/campaigns/{id}/recipients')!]).toEqual(
      expect.arrayContaining([200, 400, 404]),
    )
    expect([...reached.get('POST /v1/receipts/{account}')!]).toEqual(
      expect.arrayContaining([200, 401, 403, 404]),
    )
    expect([...reached.get('GET /v1/receipts')!]).toEqual(expect.arrayContaining([200, 400]))
    expect([...reached.get('GET /v1/campaigns')!]).toEqual(expect.arrayContaining([200, 400]))
  })

  it('bodies that are not JSON, and addresses that are not there, answer in good order', {
    timeout: 120_000,
  }, async () => {
    const bytes = fc.uint8Array({ maxLength: 200 }).map((data) => Buffer.from(data))
    const cut = fc.nat({ max: 120 }).map((length) => Buffer.from(JSON.stringify(message()).slice(0, length)))
    const methods = fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD')
    const paths = fc.oneof(
      fc.constantFrom(
        ...Object.keys(document.paths),
        '/docs',
        '/dashboard',
        '/dashboard/api/queues',
        '/dashboard/login',
      ),
      fc
        .array(texts, { maxLength: 4 })
        .map((parts) => `/${parts.map((part) => encodeURIComponent(part.toWellFormed())).join('/')}`),
      fc.constantFrom(
        '/%',
        '/%zz',
        '/v1/messages/%ff',
        `/v1/messages/${'x'.repeat(500)}`,
        '//',
        '/v1//messages',
      ),
    )
    await fc.assert(
      fc.asyncProperty(
        methods,
        paths,
        fc.oneof(bytes, cut),
        headerText,
        async (method, url, payload, type) => {
          const answer = await within(
            api.inject({
              method: method as 'POST',
              url,
              headers: { 'content-type': type.length % 2 ? type : 'application/json' },
              payload,
            }),
          )
          if (method === 'HEAD') expect(answer.statusCode).toBeLessThan(500)
          else if (!url.startsWith('/dashboard')) expectOrderly(answer)
          else expect(answer.statusCode, answer.body).toBeLessThan(500)
        },
      ),
      { seed: SEED, numRuns: RUNS },
    )
  })
})
