/** Answers that no document promises: gateways, half answers, nonsense. Each becomes an outcome, none an exception. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SendOutcome } from '../provider.ts'
import type { Bench, CannedReply } from './describe-provider.ts'

const page = '<!doctype html><title>Oops</title><p>nginx</p>'
const html = { 'content-type': 'text/html' }
const json = { 'content-type': 'application/json' }

/** A 2xx that cannot be read: it is never sent again by itself. */
const unreadable = { outcome: 'uncertain', answered: true }
const unknown = { outcome: 'uncertain', answered: false }
const request = { outcome: 'rejected', kind: 'request' }

/** Answers by name, the same for every provider. */
const answers: Record<string, [reply: CannedReply, outcome: object]> = {
  'a 200 with a page': [
    { status: 200, headers: html, body: page },
    { ...unreadable, code: 'HTTP_200' },
  ],
  'an empty 200': [{ status: 200, headers: json, body: '' }, unreadable],
  'a 204': [
    { status: 204, body: '' },
    { ...unreadable, code: 'HTTP_204' },
  ],
  'a 202 with 5 MB of text': [{ status: 202, headers: json, body: 'x'.repeat(5_000_000) }, unreadable],
  'a 200 with 5 MB of JSON': [
    { status: 200, headers: json, body: JSON.stringify({ pad: 'x'.repeat(5_000_000) }) },
    unreadable,
  ],
  'a 200 with an array': [{ status: 200, headers: json, body: '[]' }, unreadable],
  'a 200 with arrays for its objects': [
    {
      status: 200,
      headers: json,
      body: '{"code":[],"data":[],"messages":[[]],"error":[],"success":[],"status":[]}',
    },
    unreadable,
  ],
  'a 200 with null': [{ status: 200, headers: json, body: 'null' }, unreadable],
  'a 200 nested ten thousand deep': [
    { status: 200, headers: json, body: '['.repeat(10_000) + ']'.repeat(10_000) },
    unreadable,
  ],
  'a 200 that is not UTF-8': [
    { status: 200, headers: json, body: Buffer.from([0x7b, 0xff, 0xfe]) },
    unreadable,
  ],
  'a redirect': [
    { status: 302, headers: { location: '/elsewhere' }, body: '' },
    { ...request, code: 'HTTP_302' },
  ],
  'a 304': [{ status: 304, body: '' }, request],
  'a bare 400': [
    { status: 400, headers: html, body: page },
    { outcome: 'rejected', kind: 'other' },
  ],
  'a bare 401': [
    { status: 401, headers: html, body: page },
    { outcome: 'rejected', kind: 'credentials' },
  ],
  'a bare 403': [
    { status: 403, body: '' },
    { outcome: 'rejected', kind: 'credentials' },
  ],
  'a bare 404': [
    { status: 404, headers: html, body: page },
    { ...request, message: expect.stringContaining('baseUrl') },
  ],
  'a bare 405': [{ status: 405, body: '' }, request],
  'a bare 408': [{ status: 408, body: '' }, { outcome: 'unavailable' }],
  'a bare 425': [{ status: 425, body: '' }, { outcome: 'unavailable' }],
  'a bare 418': [
    { status: 418, body: 'teapot' },
    { outcome: 'rejected', kind: 'other', code: 'HTTP_418' },
  ],
  'a bare 429': [
    { status: 429, body: '' },
    { outcome: 'throttled', code: 'HTTP_429' },
  ],
  'a 429 with seconds': [
    { status: 429, headers: { 'retry-after': '7' }, body: page },
    { outcome: 'throttled', retryAfterMs: 7_000 },
  ],
  'a 429 with a date that has passed': [
    { status: 429, headers: { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }, body: '' },
    { outcome: 'throttled', retryAfterMs: 0 },
  ],
  'a 429 with seconds below zero': [
    { status: 429, headers: { 'retry-after': '-5' }, body: '' },
    { outcome: 'throttled', retryAfterMs: 0 },
  ],
  'a bare 500': [
    { status: 500, headers: html, body: page },
    { ...unknown, code: 'HTTP_500' },
  ],
  'a bare 502': [{ status: 502, headers: html, body: page }, unknown],
  'a bare 504': [{ status: 504, headers: html, body: page }, unknown],
  'a bare 520': [{ status: 520, headers: html, body: page }, unknown],
  'a bare 521': [{ status: 521, headers: html, body: page }, { outcome: 'unavailable' }],
  'a bare 503': [
    { status: 503, headers: html, body: page },
    { outcome: 'unavailable', code: 'HTTP_503' },
  ],
  'a 503 with seconds': [
    { status: 503, headers: { 'retry-after': '120' }, body: page },
    { outcome: 'unavailable', retryAfterMs: 120_000 },
  ],
  'a bare 507': [{ status: 507, body: '' }, { outcome: 'unavailable' }],
  'a status that does not exist': [{ status: 799, body: '' }, unknown],
}

export function describeForeignAnswers({ provider, fixtures, answered }: Bench): void {
  const accepted = () => {
    const named = fixtures.replies.filter(
      ({ outcome }) => outcome.outcome === 'accepted' && outcome.requestId,
    )
    const found = named.find(({ reply }) => typeof reply.body !== 'string')
    if (found?.outcome.outcome !== 'accepted') throw new Error('no fixture is accepted with a request id')
    return { ...found, outcome: found.outcome, body: JSON.stringify(found.reply.body) }
  }

  describe.concurrent(`${provider.name}: answers that no document promises`, () => {
    test.for(Object.entries(answers))('%s', async ([, [reply, outcome]]) => {
      expect(await answered(reply)).toMatchObject(outcome)
    })

    test('a 429 with a date in the future', async () => {
      const date = new Date(Date.now() + 3_600_000).toUTCString()
      const outcome = await answered({ status: 429, headers: { 'retry-after': date }, body: '' })
      const waitMs = outcome.outcome === 'throttled' ? (outcome.retryAfterMs ?? 0) : 0
      expect(waitMs).toBeGreaterThan(3_000_000)
      expect(waitMs).toBeLessThanOrEqual(3_600_000)
    })

    test('a success that breaks off anywhere', async () => {
      const { body, reply, content } = accepted()
      for (let length = 1; length < body.length; length += 9) {
        const cut = { status: reply.status, headers: json, body: body.slice(0, length) }
        expect(await answered(cut, content)).toMatchObject(unreadable)
      }
    })

    test('a success with the wrong content type, or a byte order mark', async () => {
      const { body, reply, content, outcome } = accepted()
      expect(await answered({ status: reply.status, headers: html, body }, content)).toEqual(outcome)
      expect(await answered({ status: reply.status, body: `\ufeff${body}` }, content)).toEqual(outcome)
    })

    test('a success without commas is read right or not at all', async () => {
      const { body, reply, content, outcome } = accepted()
      const found = await answered({ status: reply.status, body: body.replaceAll(',"', ' "') }, content)
      if (found.outcome === 'accepted') expect(found).toEqual(outcome)
      else expect(found).toMatchObject(unreadable)
    })

    test('an id that is a number beyond 2^53 keeps its digits', async () => {
      const { body, reply, content, outcome } = accepted()
      const numeric = body.replace(`"${outcome.requestId}"`, '604132581490819123')
      expect(numeric).not.toBe(body)
      const found = await answered({ status: reply.status, body: numeric }, content)
      expect(found).toMatchObject({ outcome: 'accepted', requestId: '604132581490819123' })
    })

    test('words of the provider are cut, cleaned, and rid of secrets', async () => {
      const account = fixtures.account as Record<string, string>
      const echoed = provider.secrets.map((field) => account[field]).join(' ')
      const message = `No\u0000 ${echoed} \u001b[31m\u202e\r\nnext ${'long '.repeat(1_000)}`
      const hostile = { code: `X\n${echoed}`, message, status: 'error', success: false, error: { message } }
      for (const body of [hostile, { ...hostile, status: false }]) {
        const outcome = await answered({ status: 400, headers: json, body: JSON.stringify(body) })
        expect(outcome.outcome).toBe('rejected')
        const said = 'message' in outcome ? outcome.message : ''
        expect(said).toMatch(/^No \[secret\]/)
        expect([...said].length).toBeLessThanOrEqual(300)
        expect(said + outcome.code).not.toMatch(/[\p{Cc}\p{Cf}]/u)
      }
    })

    test('whatever JSON comes with whatever status is an outcome, and only a 2xx is ever accepted', async () => {
      const key = fc.constantFrom(
        'code',
        'data',
        'error',
        'errors',
        'message',
        'message_id',
        'messages',
        'id',
      )
      const flag = fc.constantFrom('success', 'status', 'request_id', 'messageId', '__proto__', 'constructor')
      const leaf = fc.oneof(
        fc.constantFrom('WA401', 'WA-401', 'E110', 'error', '', 131009, 0, 1e300),
        fc.jsonValue(),
      )
      const { body } = fc.letrec((tie) => ({
        body: fc.oneof(
          { depthSize: 'small' },
          leaf,
          fc.array(tie('body'), { maxLength: 2 }),
          fc.dictionary(fc.oneof(key, flag), tie('body'), { maxKeys: 6 }),
        ),
      }))
      const status = fc.constantFrom(200, 202, 204, 301, 400, 401, 402, 404, 429, 500, 502, 503)
      await fc.assert(
        fc.asyncProperty(status, body, async (code, value) => {
          const outcome: SendOutcome = await answered({
            status: code,
            headers: json,
            body: JSON.stringify(value),
          })
          expect(outcome.code).not.toBe('')
          if (outcome.outcome === 'accepted') expect(code).toBeLessThan(300)
          else expect(outcome.message).not.toBe('')
        }),
        { seed: 20261122, numRuns: 150 },
      )
    })
  })
}
