import { expect, test } from 'vitest'
import { createCampaignId } from '../campaigns/ids.ts'
import { createMessageId } from '../ledger/ids.ts'
import { eventBody } from './event.ts'
import type { PostBack } from './outbox.ts'

const id = createMessageId(1, 7, 0xabcdef01)
const bare: PostBack = {
  id,
  event: 1,
  eventId: 'evt_x_1',
  state: 'delivered',
  at: Date.UTC(2026, 10, 22, 9, 30),
  tries: 0,
  receiver: 'r',
  to: '919876543210',
  campaign: 0,
}

test('a message with nothing to say is told like one that is read back', () => {
  expect(JSON.parse(eventBody('kaleyra-in', bare))).toEqual({
    type: 'message.delivered',
    timestamp: '2026-11-22T09:30:00.000Z',
    data: { id: id.text, account: 'kaleyra-in', to: '919876543210', state: 'delivered', error: null },
  })
})

test('everything there is to say', () => {
  const error = { code: '131009', kind: 'content', message: 'Not valid', at: 'delivery' as const }
  const full: PostBack = {
    ...bare,
    state: 'failed',
    campaign: 3,
    requestId: 'req-1',
    reference: 'order-1042',
    data: 'theirs',
    url: 'https://hooks.example/?token=sesame',
    error,
  }
  expect(JSON.parse(eventBody('kaleyra-in', full))).toEqual({
    type: 'message.failed',
    timestamp: '2026-11-22T09:30:00.000Z',
    data: {
      id: id.text,
      request_id: 'req-1',
      account: 'kaleyra-in',
      campaign_id: createCampaignId(1, 3, 0xabcdef01).text,
      to: '919876543210',
      state: 'failed',
      error,
      reference: 'order-1042',
      post_back_data: 'theirs',
    },
  })
})
