/** A simulator on a free port, and the five systems' sample requests to send to it. */
import { buildSimulator, type SimulatorOptions } from '../app.ts'

export interface Sample {
  path: string
  headers: Record<string, string>
  body: Record<string, unknown>
}

export interface Running {
  url: string
  /** Sends a sample; `changes` replaces top-level fields of its body, `headers` adds to its own. */
  send(sample: Sample, changes?: Record<string, unknown>, headers?: Record<string, string>): Promise<Response>
  /** Calls the control API and gives its JSON, or null for an empty answer. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look at answers of every shape
  control(method: string, path: string, body?: unknown): Promise<any>
  close(): Promise<void>
}

export async function startSimulator(options: SimulatorOptions = {}): Promise<Running> {
  const app = buildSimulator(options)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    url,
    send: (sample, changes = {}, headers = {}) =>
      fetch(url + sample.path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...sample.headers, ...headers },
        body: JSON.stringify({ ...sample.body, ...changes }),
      }),
    async control(method, path, body) {
      const response = await fetch(`${url}/simulator${path}`, {
        method,
        ...(body === undefined
          ? {}
          : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      })
      const text = await response.text()
      return text === '' ? null : JSON.parse(text)
    },
    close: () => app.close(),
  }
}

export const reaction = { message_id: 'wamid.HBgLMxxx', emoji: '😀' }

export const interactive = {
  type: 'button',
  header: { type: 'text', text: 'Your order' },
  body: { text: 'Shall we deliver it tomorrow?' },
  footer: { text: 'Reply within a day' },
  action: {
    buttons: [
      { type: 'reply', reply: { id: 'yes', title: 'Yes' } },
      { type: 'reply', reply: { id: 'no', title: 'No' } },
    ],
  },
}

const kaleyraHeaders = { 'api-key': 'Axxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx3', 'cache-control': 'no-cache' }
const kaleyraPath = '/v2/HXAP16XXXXXX97IN/whatsapp/919000000000/messages'
const extraInfo = { ref: 'customer1', ref1: 'marketing', ref2: 'dictionary', wa_source: 'api' }
const gupshupPath = '/partner/app/bf9ee64c-3d4d-4ac4-8668-732e577007c4/v3/message'
const gupshupHeaders = { authorization: 'sk_e45eb372979f48dead602b52483259be' }
const meta = { messaging_product: 'whatsapp', recipient_type: 'individual' }
const zixflowHeaders = { 'x-api-key': 'zixflow-key', 'x-workspace-id': 'workspace-1' }
const zixflowBody = {
  recipient: '919876543210',
  phone_id: 'phone-1',
  post_back_url: 'https://us.example/receipts',
  post_back_data: 'msg_1',
}

/** The documents' own sample requests, their placeholders filled in. */
export const samples = {
  zixflowReaction: {
    path: '/api/ingest/whatsapp/v1/message/reaction/send',
    headers: zixflowHeaders,
    body: { ...zixflowBody, reaction },
  },
  zixflowButtons: {
    path: '/api/ingest/whatsapp/v1/message/interactive/reply-buttons/send',
    headers: zixflowHeaders,
    body: { ...zixflowBody, interactive },
  },
  kaleyraReaction: {
    path: kaleyraPath,
    headers: kaleyraHeaders,
    body: {
      messaging_object: { ...meta, to: '+919876543210', type: 'reaction', reaction },
      extra_info: extraInfo,
    },
  },
  kaleyraButtons: {
    path: kaleyraPath,
    headers: kaleyraHeaders,
    body: { messaging_object: { ...meta, to: '919876543210', type: 'interactive', interactive } },
  },
  gupshupReaction: {
    path: gupshupPath,
    headers: gupshupHeaders,
    body: { ...meta, to: '919876543210', type: 'reaction', reaction },
  },
  gupshupButtons: {
    path: gupshupPath,
    headers: gupshupHeaders,
    body: { ...meta, to: '919876543210', type: 'interactive', interactive },
  },
  campaignButtons: {
    path: '/api/v1/campaign/whatsapp/message/send',
    headers: { authorization: 'Bearer campaign-token' },
    body: { to: '919876543210', phoneId: 'phone-9', type: 'interactive', interactive },
  },
} satisfies Record<string, Sample>

export const errorText = {
  incorrectSid: {
    code: 'RBC001',
    message: 'Incorrect SID or API key.',
    data: [],
    error: { error: 'Incorrect SID or API key.' },
  },
  payload: {
    code: 'WA400',
    message: 'Refer to correct payload format',
    data: {},
    error: { payload: 'Incorrect payload format' },
  },
}
