/** Gupshup Partner API v3, "Send Message with Reaction": samples as printed there. */
import { headers, type ProviderFixtures, reaction, replyButtons } from '../testing/fixtures.ts'
import { receipts } from './receipt-fixtures.ts'
import type { GupshupAccount } from './wire.ts'

const path = '/partner/app/bf9ee64c-3d4d-4ac4-8668-732e577007c4/v3/message'
const requestHeaders = {
  authorization: 'sk_e45eb372979f48dead602b52483259be',
  'content-type': 'application/json',
}

export const fixtures: ProviderFixtures<GupshupAccount> = {
  account: {
    appId: 'bf9ee64c-3d4d-4ac4-8668-732e577007c4',
    token: 'sk_e45eb372979f48dead602b52483259be',
  },
  requests: [
    {
      name: 'Sample Request',
      content: reaction,
      expected: {
        method: 'POST',
        path,
        headers: requestHeaders,
        body: `{
"messaging_product": "whatsapp",
"recipient_type": "individual",
"to": "919876543210",
"type": "reaction",
"reaction": {
"message_id": "wamid.HBgLMxxx",
"emoji": "😀"
}
}`,
      },
    },
    {
      name: "reply buttons: WhatsApp's message object in the same frame",
      content: replyButtons(headers.image),
      expected: {
        method: 'POST',
        path,
        headers: requestHeaders,
        body: {
          messaging_product: 'whatsapp',
          recipient_type: 'individual',
          to: '919876543210',
          ...replyButtons(headers.image),
        },
      },
    },
  ],
  replies: [
    {
      name: 'Sample Response',
      row: 'accepted',
      reply: {
        status: 200,
        body: {
          messages: [{ id: 'GUPSHUP_MESSAGE_ID' }],
          messaging_product: 'whatsapp',
          contacts: [{ input: 'DESTINATION_PHONE_NO', wa_id: 'DESTINATION_PHONE_NO' }],
        },
      },
      outcome: { outcome: 'accepted', code: 'HTTP_200', requestId: 'GUPSHUP_MESSAGE_ID' },
    },
    {
      name: 'When API key authentication fails',
      row: '401',
      reply: { status: 401, body: { status: 'error', message: 'Authentication Failed' } },
      outcome: {
        outcome: 'rejected',
        kind: 'credentials',
        code: 'HTTP_401',
        message: 'Authentication Failed',
      },
    },
    {
      name: 'If Callback billing is not enabled for the app',
      row: '400 callback billing',
      reply: {
        status: 400,
        body: { message: 'Callback Billing must be enabled for this API', status: 'error' },
      },
      outcome: {
        outcome: 'rejected',
        kind: 'account',
        code: 'HTTP_400',
        message: 'Callback Billing must be enabled for this API',
      },
    },
    {
      name: 'If app details are not found',
      row: '400 app details',
      reply: { status: 400, body: { message: 'Invalid App Details', status: 'error' } },
      outcome: { outcome: 'rejected', kind: 'account', code: 'HTTP_400', message: 'Invalid App Details' },
    },
    {
      name: 'too many requests',
      row: '429',
      reply: {
        status: 429,
        headers: { 'retry-after': '1' },
        body: { status: 'error', message: 'Too Many Requests' },
      },
      outcome: { outcome: 'throttled', code: 'HTTP_429', message: 'Too Many Requests', retryAfterMs: 1_000 },
    },
    {
      name: 'a server error of theirs',
      row: '500',
      reply: { status: 500, body: { status: 'error', message: 'Internal Server Error' } },
      outcome: { outcome: 'unavailable', code: 'HTTP_500', message: 'Internal Server Error' },
    },
    {
      name: 'another 400 of theirs',
      reply: { status: 400, body: { status: 'error', message: 'Invalid Destination' } },
      outcome: { outcome: 'rejected', kind: 'other', code: 'HTTP_400', message: 'Invalid Destination' },
    },
    {
      name: "WhatsApp's own error, passed on",
      reply: { status: 400, body: { error: { code: 131047, message: 'Re-engagement message' } } },
      outcome: { outcome: 'rejected', kind: 'recipient', code: '131047', message: 'Re-engagement message' },
    },
    {
      name: 'a success without a message id',
      reply: { status: 200, body: { messages: [], messaging_product: 'whatsapp' } },
      outcome: {
        outcome: 'uncertain',
        answered: true,
        code: 'HTTP_200',
        message: 'the answer says success but cannot be read',
      },
    },
  ],
  refusals: [],
  receipts,
}
