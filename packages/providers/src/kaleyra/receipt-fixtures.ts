/** Kaleyra, "Status Update Webhooks" (v2): bodies as printed there, letters X replaced. */
import type { ReceiptFixture } from '../testing/fixtures.ts'

const requestId = 'c0a7f9c3269f79de3b21acac299cfb00'
const wamid = 'wamid.HBgMOTE5NDA3MDAwMDAwFQIAERgSMEYxMEM1QjQ3QjAwQ0N0YA'
const at = 1_722_834_665_000

function status(word: string, more: object = {}) {
  return { id: requestId, status: word, timestamp: '1722834665', recipient_id: '919407000000', ...more }
}

const extraInfo = {
  trace_id: '8f14e45f-e000-4c1a-9e77-1a5000000000',
  message_id: wamid,
  waba_id: '120000034512345',
  ref: 'msg_1',
  ref1: 'order_ORD_456789',
  ref2: 'payment_pending',
  enable_url_tracking_body: false,
  enable_url_tracking_button: false,
}

function body(statuses: object[], more: object = {}) {
  return {
    meta_object: {
      value: {
        messaging_product: 'whatsapp',
        metadata: { display_phone_number: '910000000000', phone_number_id: '104000000000060' },
        statuses,
      },
      field: 'messages',
    },
    extra_info: extraInfo,
    status: 'sent',
    message_id: wamid,
    ...more,
  }
}

const ids = { messageId: 'msg_1', requestId, wamid }
const receipt = { ...ids, at, recipient: '919407000000' }
const failed = { ...receipt, status: 'failed', state: 'failed' } as const

export const receipts: ReceiptFixture[] = [
  {
    name: 'Sent',
    body: body([
      status('sent', {
        conversation: { id: 'c0a7', expiration_timestamp: '1722900260', origin: { type: 'marketing' } },
        pricing: { billable: true, pricing_model: 'Conversation-Based Pricing', category: 'marketing' },
      }),
    ]),
    reading: { receipts: [{ ...receipt, status: 'sent', state: 'sent' }] },
  },
  {
    name: 'Delivered',
    body: body([status('delivered')]),
    reading: { receipts: [{ ...receipt, status: 'delivered', state: 'delivered' }] },
  },
  {
    name: 'Read, in capital letters and with a number for the time',
    body: body([status('READ', { timestamp: 1_722_834_665 })]),
    reading: { receipts: [{ ...receipt, status: 'read', state: 'read' }] },
  },
  {
    name: "Failed, with WhatsApp's error in plain words",
    body: body([
      status('failed', {
        errors: [{ code: 131009, title: 'Parameter value is not valid', href: 'https://…' }],
      }),
    ]),
    reading: {
      receipts: [
        {
          ...failed,
          error: {
            code: '131009',
            message:
              'a parameter is not valid; for a reaction: its message is over 30 days old, unknown, deleted or itself a reaction (Parameter value is not valid)',
          },
        },
      ],
    },
  },
  {
    name: 'Failed, with an error that nobody documents',
    body: body([status('failed', { errors: { code: '199999', message: 'Odd', title: 'Other' } })]),
    reading: { receipts: [{ ...failed, error: { code: '199999', message: 'Odd' } }] },
  },
  {
    name: 'not-sent: it never left Kaleyra',
    body: body([status('not-sent')]),
    reading: {
      receipts: [
        {
          ...receipt,
          status: 'not-sent',
          state: 'failed',
          error: { code: 'NOT_SENT', message: 'failed without an explanation' },
        },
      ],
    },
  },
  {
    name: "NOT_SENT, with one of Kaleyra's own codes",
    body: body([status('NOT_SENT', { code: 'E110' })]),
    reading: {
      receipts: [
        {
          ...receipt,
          status: 'not_sent',
          state: 'failed',
          error: { code: 'E110', message: 'Low balance' },
        },
      ],
    },
  },
  {
    name: 'several statuses of one message',
    body: body([status('sent'), status('delivered')]),
    reading: {
      receipts: [
        { ...receipt, status: 'sent', state: 'sent' },
        { ...receipt, status: 'delivered', state: 'delivered' },
      ],
    },
  },
  {
    name: 'statuses of several messages: what stands beside them is nobody’s',
    body: body([status('sent'), status('delivered', { id: 'another' })]),
    reading: {
      receipts: [
        { requestId, at, recipient: '919407000000', status: 'sent', state: 'sent' },
        { requestId: 'another', at, recipient: '919407000000', status: 'delivered', state: 'delivered' },
      ],
    },
  },
  {
    name: "somebody else's ref",
    body: body([status('sent')], { extra_info: { ref: 'campaign_2025_summer_sale' }, message_id: 17 }),
    reading: { receipts: [{ requestId, at, recipient: '919407000000', status: 'sent', state: 'sent' }] },
  },
  {
    name: 'a profile of the customer’s own: no object, everything at the top',
    body: { ref: 'msg_1', message_id: requestId, status: 'delivered', timestamp: 1_722_834_665 },
    reading: {
      receipts: [{ messageId: 'msg_1', requestId, at, status: 'delivered', state: 'delivered' }],
    },
  },
  {
    name: 'a profile that leaves out the status’s own id',
    body: { extra_info: extraInfo, status: 'read', message_id: wamid },
    reading: { receipts: [{ messageId: 'msg_1', wamid, status: 'read', state: 'read' }] },
  },
  {
    name: 'a list of statuses without what is around it',
    body: { statuses: [status('sent')] },
    reading: { receipts: [{ requestId, at, recipient: '919407000000', status: 'sent', state: 'sent' }] },
  },
  {
    name: 'an inbound message',
    body: {
      meta_object: { value: { messages: [{ from: '919407000000', type: 'text' }] }, field: 'messages' },
    },
    reading: { others: 1 },
  },
  {
    name: 'news about a template',
    body: { id: '1', event: 'APPROVED', message_template_id: '7', reason: 'NONE' },
    reading: { others: 1 },
  },
  {
    name: 'a payment that failed is no message that failed',
    body: body([status('failed', { type: 'payment' })]),
    reading: { others: 1 },
  },
]
