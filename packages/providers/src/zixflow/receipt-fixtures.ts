/** Zixflow, "Postback Notifications": the body printed there with other statuses. */
import type { ReceiptFixture } from '../testing/fixtures.ts'

const requestId = '65ca1d21-8854-4d39-a0bd-64f1cd7b8db1'

const body = (status: string, more: object = {}) => ({
  workspace_id: '69614209f51dfafb2231a6fe',
  type: 'delivery_status',
  message_id: 604132581490819,
  request_id: requestId,
  channel: 'whatsapp',
  recipient: '919090909090',
  status,
  remark: '',
  status_at: '2026-01-28T17:17:59.254174911Z',
  post_back_data: 'msg_1',
  ...more,
})

const receipt = {
  messageId: 'msg_1',
  requestId,
  recipient: '919090909090',
  at: Date.UTC(2026, 0, 28, 17, 17, 59, 254),
}
const failed = { ...receipt, status: 'failed', state: 'failed' } as const

export const receipts: ReceiptFixture[] = [
  {
    name: 'Example Payload, its number beyond 2^53 included',
    body: JSON.stringify(body('delivered')).replace('604132581490819', '604132581490819100'),
    reading: { receipts: [{ ...receipt, status: 'delivered', state: 'delivered' }] },
  },
  {
    name: 'a request id that is such a number keeps its digits',
    body: JSON.stringify(body('sent')).replace(`"${requestId}"`, '604132581490819123'),
    reading: {
      receipts: [{ ...receipt, requestId: '604132581490819123', status: 'sent', state: 'sent' }],
    },
  },
  {
    name: 'sent',
    body: body('Sent', { status_at: '1769620679' }),
    reading: { receipts: [{ ...receipt, at: 1_769_620_679_000, status: 'sent', state: 'sent' }] },
  },
  {
    name: 'read, with another time zone',
    body: body('read', { status_at: '2026-01-28 22:47:59.254+05:30' }),
    reading: { receipts: [{ ...receipt, status: 'read', state: 'read' }] },
  },
  {
    name: 'clicked, at a time without a zone, which is not believed',
    body: body('clicked', { status_at: '2026-01-28T17:17:59' }),
    reading: { receipts: [{ messageId: 'msg_1', requestId, recipient: '919090909090', status: 'clicked' }] },
  },
  {
    name: 'failed, with a remark',
    body: body('failed', { remark: 'Recipient is not\n available' }),
    reading: {
      receipts: [{ ...failed, error: { code: 'FAILED', message: 'Recipient is not available' } }],
    },
  },
  {
    name: "failed, with WhatsApp's code in the remark",
    body: body('failed', { remark: '(#131050) User opted out' }),
    reading: {
      receipts: [
        {
          ...failed,
          error: {
            code: '131050',
            message: 'the recipient opted out of marketing ((#131050) User opted out)',
          },
        },
      ],
    },
  },
  {
    name: 'data that is not our id, at a time to come',
    body: body('delivered', { post_back_data: 'somedata', status_at: '2126-01-28T17:17:59Z' }),
    reading: {
      receipts: [{ requestId, recipient: '919090909090', status: 'delivered', state: 'delivered' }],
    },
  },
  { name: 'another channel', body: body('failed', { channel: 'sms' }), reading: { others: 1 } },
  { name: 'another kind of notification', body: body('failed', { type: 'billing' }), reading: { others: 1 } },
  {
    name: 'an inbound message',
    body: { event: 'incoming.whatsapp.message', messageId: 'wamid.1', message: { type: 'text' } },
    reading: { others: 1 },
  },
]
