/** Gupshup Partner API, "Passthrough (V3) Incoming events": bodies as printed there, placeholders filled. */
import type { ReceiptFixture } from '../testing/fixtures.ts'

const requestId = '2baff204-c39a-4121-90b5-f53f26d522b3'
const wamid = 'wamid.HBgMOTE5MTYzODA1ODczFQIAERgSNkZCMThGMEEwQzJDOUFGQjFBAA=='
const at = 1_710_941_393_000

function status(word: string, more: object = {}) {
  const ids = { gs_id: requestId, id: wamid }
  return { ...ids, recipient_id: '919163805873', status: word, timestamp: '1710941393', ...more }
}

function body(...statuses: object[]) {
  return {
    gs_app_id: '82ed52f4-30c0-4f12-81b4-e7ad07bd41de',
    object: 'whatsapp_business_account',
    entry: [
      {
        id: '112535025189792',
        changes: [{ field: 'messages', value: { messaging_product: 'whatsapp', statuses } }],
      },
    ],
  }
}

const receipt = { requestId, wamid, at, recipient: '919163805873' }
const failed = { ...receipt, status: 'failed', state: 'failed' } as const

export const receipts: ReceiptFixture[] = [
  {
    name: 'Enqueued, with a number of milliseconds',
    body: body(status('enqueued', { timestamp: 1_710_941_393_420 })),
    reading: { receipts: [{ ...receipt, status: 'enqueued', at: 1_710_941_393_420 }] },
  },
  {
    name: 'Sent, with a text of seconds',
    body: body(status('sent', { conversation: { id: '3dab' }, pricing: { billable: true } })),
    reading: { receipts: [{ ...receipt, status: 'sent', state: 'sent' }] },
  },
  {
    name: 'Delivered',
    body: body(status('delivered')),
    reading: { receipts: [{ ...receipt, status: 'delivered', state: 'delivered' }] },
  },
  {
    name: 'Read',
    body: body(status('read')),
    reading: { receipts: [{ ...receipt, status: 'read', state: 'read' }] },
  },
  {
    name: 'deleted',
    body: body(status('deleted')),
    reading: { receipts: [{ ...receipt, status: 'deleted' }] },
  },
  {
    name: "Failed, with WhatsApp's error",
    body: body(status('failed', { errors: [{ code: 131047, title: 'Message failed to send' }] })),
    reading: {
      receipts: [
        {
          ...failed,
          error: {
            code: '131047',
            message: 'more than 24 hours since the recipient last wrote (Message failed to send)',
          },
        },
      ],
    },
  },
  {
    name: 'Failed, with details',
    body: body(
      status('failed', {
        errors: [
          null,
          { code: '131026', message: 'Undeliverable', error_data: { details: 'Not reachable.' } },
        ],
      }),
    ),
    reading: {
      receipts: [
        {
          ...failed,
          error: {
            code: '131026',
            message: 'the recipient is not on WhatsApp, or has an old version of it (Not reachable.)',
          },
        },
      ],
    },
  },
  {
    name: 'Failed at Gupshup, with its code and reason, and its own id where the wamid would be',
    body: body(status('failed', { id: requestId, gs_id: undefined, code: 1002, reason: '' })),
    reading: {
      receipts: [
        {
          requestId,
          at,
          recipient: '919163805873',
          status: 'failed',
          state: 'failed',
          error: { code: '1002', message: 'the number is not on WhatsApp' },
        },
      ],
    },
  },
  {
    name: 'an event older than a week, without gs_id and with a masked number',
    body: body(status('read', { gs_id: undefined, recipient_id: '91******73' })),
    reading: { receipts: [{ wamid, at, status: 'read', state: 'read' }] },
  },
  {
    name: 'several entries, changes and statuses',
    body: {
      entry: [
        ...body(status('sent'), status('delivered')).entry,
        {
          changes: [...(body(status('read')).entry[0]?.changes ?? []), { field: 'billing-event', value: {} }],
        },
      ],
    },
    reading: {
      receipts: [
        { ...receipt, status: 'sent', state: 'sent' },
        { ...receipt, status: 'delivered', state: 'delivered' },
        { ...receipt, status: 'read', state: 'read' },
      ],
      others: 1,
    },
  },
  {
    name: 'a check of the address (platform-event)',
    body: { entry: [{ changes: [{ field: 'platform-event', value: { type: 'set-callback' } }] }] },
    reading: { others: 1 },
  },
  { name: 'callback start', body: body({ type: 'set-callback' }), reading: { others: 1 } },
  {
    name: 'a payment that failed is no message that failed',
    body: body(status('failed', { type: 'payment' })),
    reading: { others: 1 },
  },
  {
    name: 'an inbound message',
    body: { entry: [{ changes: [{ field: 'messages', value: { messages: [{ from: '9191' }] } }] }] },
    reading: { others: 1 },
  },
]
