/** Campaigns as a caller of the API handles them. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { CampaignView, MessageState, MessageView } from '@wa-dispatch/dispatch'
import { expect } from 'vitest'
import type { Answer, Stack } from './stack.ts'

export interface Recipient {
  to: string
  name: string
  reference?: string
}

/** A row of a report in NDJSON. */
export interface ReportRow {
  line: number
  to: string
  reference: string | null
  id: string
  request_id: string | null
  state: MessageState
  code: string | null
  reason: string | null
  attempts: number
  updated_at: string | null
  created_at: string | null
  first_attempt_at: string | null
  last_duration_ms: number | null
}

export interface UploadOptions {
  type?: string
  /** Its Idempotency-Key. */
  key?: string
}

/** It may not be sent twice. */
export const greeting = {
  type: 'interactive',
  interactive: {
    type: 'button',
    body: { text: 'Hello {{name}}, does Tuesday suit you?' },
    action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] },
  },
}

/** @param from the first number, the others follow it */
export const recipientsFrom = (from: number, count: number): Recipient[] =>
  Array.from({ length: count }, (_, index) => ({ to: String(from + index), name: `Person ${index}` }))

export const csvOf = (recipients: readonly Recipient[]): string =>
  `to,name,reference\n${recipients.map(({ to, name, reference = '' }) => `${to},${name},${reference}\n`).join('')}`

export const ndjsonOf = (recipients: readonly Recipient[]): string =>
  recipients.map(({ name, ...row }) => `${JSON.stringify({ ...row, variables: { name } })}\n`).join('')

/** The sum over all states; at every look it is the campaign's `total`. */
export const summed = ({ counts }: Pick<CampaignView, 'counts'>): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0)

export type Calls = ReturnType<typeof callsOf>

export function callsOf(stack: Stack) {
  const calls = {
    /** @returns the id of the draft */
    async create(definition: Record<string, unknown>): Promise<string> {
      const answer = await stack.call('POST', '/v1/campaigns', {
        name: 'autumn',
        message: greeting,
        ...definition,
      })
      expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201, body: { state: 'draft' } })
      return answer.body.id
    },

    /** @throws when the connection breaks */
    async upload(
      id: string,
      body: string | AsyncIterable<Uint8Array>,
      { type = 'text/csv', key }: UploadOptions = {},
    ): Promise<Answer> {
      const response = await fetch(`${stack.apiUrl}/v1/campaigns/${id}/recipients`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${stack.key}`,
          'content-type': type,
          ...(key !== undefined && { 'idempotency-key': key }),
        },
        body: body as NonNullable<RequestInit['body']>,
        ...(typeof body !== 'string' && { duplex: 'half' }),
      })
      const text = await response.text()
      return { status: response.status, headers: response.headers, body: JSON.parse(text) }
    },

    /** Makes a campaign for these recipients and starts it. */
    async run(definition: Record<string, unknown>, recipients: readonly Recipient[]): Promise<string> {
      const id = await calls.create(definition)
      const uploaded = await calls.upload(id, csvOf(recipients))
      expect(uploaded.body).toEqual({
        accepted: recipients.length,
        rejected: 0,
        duplicates: 0,
        errors: [],
      })
      await calls.act(id, 'start')
      return id
    },

    /** @returns the state that it is in then */
    async act(id: string, action: string, body?: unknown): Promise<string> {
      const answer = await stack.call('POST', `/v1/campaigns/${id}/${action}`, body)
      expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 })
      return answer.body.state
    },

    /** As it is now; its counts add up. */
    async read(id: string): Promise<CampaignView> {
      const { status, body } = await stack.call<CampaignView>('GET', `/v1/campaigns/${id}`)
      expect(status, JSON.stringify(body)).toBe(200)
      expect(summed(body), `counts that do not add up: ${JSON.stringify(body)}`).toBe(body.total)
      return body
    },

    /** Waits until it is as wanted; fails with what it was last. */
    async until(
      id: string,
      what: string,
      wanted: (campaign: CampaignView) => boolean,
      timeoutMs = 30_000,
    ): Promise<CampaignView> {
      for (const deadline = performance.now() + timeoutMs; ; ) {
        const campaign = await calls.read(id)
        if (wanted(campaign)) return campaign
        if (performance.now() > deadline) {
          const { message: _, ...shown } = campaign
          throw new Error(`not ${what} after ${timeoutMs} ms: ${JSON.stringify(shown)}`)
        }
        await sleep(100)
      }
    },

    untilFinished: (id: string, timeoutMs?: number) =>
      calls.until(id, 'finished', ({ state }) => state === 'finished', timeoutMs),

    /** The report's text. */
    async reportText(id: string, type: string): Promise<string> {
      const response = await fetch(`${stack.apiUrl}/v1/campaigns/${id}/report`, {
        headers: { authorization: `Bearer ${stack.key}`, accept: type },
      })
      const text = await response.text()
      expect(response.status, text.slice(0, 1_000)).toBe(200)
      return text
    },

    async report(id: string): Promise<ReportRow[]> {
      const text = await calls.reportText(id, 'application/x-ndjson')
      return text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as ReportRow)
    },

    /** The campaign's messages, all pages of them. */
    async messages(id: string, state?: MessageState): Promise<MessageView[]> {
      const found: MessageView[] = []
      for (let cursor: string | null = ''; cursor !== null; ) {
        const query = new URLSearchParams({ campaign: id, limit: '500' })
        if (state) query.set('state', state)
        if (cursor) query.set('cursor', cursor)
        const { status, body } = await stack.call('GET', `/v1/messages?${query}`)
        expect(status, JSON.stringify(body)).toBe(200)
        found.push(...body.items)
        cursor = body.next
      }
      return found
    },
  }
  return calls
}

/** How many rows of a report are in each state, as the campaign's `counts` say it. */
export function countsOf(rows: readonly Pick<ReportRow, 'state'>[]): CampaignView['counts'] {
  const counts: CampaignView['counts'] = {}
  for (const { state } of rows) counts[state] = (counts[state] ?? 0) + 1
  return counts
}
