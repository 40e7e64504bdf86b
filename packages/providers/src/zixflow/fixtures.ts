/**
 * Zixflow, "Send WhatsApp Reaction Message" and "Send WhatsApp Interactive Reply Buttons Message":
 * samples as printed there, with values for `<string>` and `{}`.
 */
import { headers, type ProviderFixtures, reaction, replyButtons } from '../testing/fixtures.ts'
import { receipts } from './receipt-fixtures.ts'
import type { ZixflowAccount } from './wire.ts'

const base = '/api/ingest/whatsapp/v1/message'
const requestHeaders = {
  'content-type': 'application/json',
  'x-api-key': '<x-api-key>',
  'x-workspace-id': '<x-workspace-id>',
}
const receiptUrl = 'https://us.example/v1/receipts/zixflow-ai'
const postBack = { post_back_url: receiptUrl, post_back_data: 'msg_1' }
const refusal = (status: number) => ({ status, body: { success: false, message: 'Something is wrong' } })

export const fixtures: ProviderFixtures<ZixflowAccount> = {
  account: { apiKey: '<x-api-key>', workspaceId: '<x-workspace-id>', phoneId: 'phone-1' },
  requests: [
    {
      name: 'Send WhatsApp Reaction Message',
      content: { type: 'reaction', reaction: { message_id: 'wamid.1', emoji: '👍' } },
      account: { receiptUrl },
      expected: {
        method: 'POST',
        path: `${base}/reaction/send`,
        headers: requestHeaders,
        body: `{
  "recipient": "919876543210",
  "phone_id": "phone-1",
  "reaction": {
    "message_id": "wamid.1",
    "emoji": "👍"
  },
  "post_back_url": "https://us.example/v1/receipts/zixflow-ai",
  "post_back_data": "msg_1"
}`,
      },
    },
    {
      name: 'Send WhatsApp Interactive Reply Buttons Message',
      content: replyButtons(headers.video),
      account: { receiptUrl },
      expected: {
        method: 'POST',
        path: `${base}/interactive/reply-buttons/send`,
        headers: requestHeaders,
        body: {
          recipient: '919876543210',
          phone_id: 'phone-1',
          interactive: {
            type: 'button',
            header: { type: 'video', video: { link: 'https://media.example/a.mp4' } },
            body: { text: 'Is *Tuesday* fine? 😀' },
            footer: { text: 'Reply within a day' },
            action: {
              buttons: [
                { type: 'reply', reply: { id: 'yes', title: 'Yes' } },
                { type: 'reply', reply: { id: 'no', title: 'No, thanks' } },
              ],
            },
          },
          ...postBack,
        },
      },
    },
    {
      name: 'a reaction whose receipts prove themselves by the token in their address',
      content: reaction,
      account: { receiptUrl: `${receiptUrl}?from=zixflow%20ai`, receiptToken: 'a token/?&=' },
      expected: {
        method: 'POST',
        path: `${base}/reaction/send`,
        headers: requestHeaders,
        body: {
          recipient: '919876543210',
          phone_id: 'phone-1',
          reaction: { message_id: 'wamid.HBgLMxxx', emoji: '😀' },
          post_back_url: `${receiptUrl}?from=zixflow%20ai&token=a%20token%2F%3F%26%3D`,
          post_back_data: 'msg_1',
        },
      },
    },
    {
      name: 'a reaction without an address for receipts',
      content: reaction,
      expected: {
        method: 'POST',
        path: `${base}/reaction/send`,
        headers: requestHeaders,
        body: {
          recipient: '919876543210',
          phone_id: 'phone-1',
          reaction: { message_id: 'wamid.HBgLMxxx', emoji: '😀' },
        },
      },
    },
  ],
  replies: [
    {
      name: 'the sample response',
      row: 'accepted',
      reply: {
        status: 200,
        body: {
          success: true,
          message: 'WhatsApp request queued successfully',
          request_id: 'f8df74d1-11fa-4485-b164-b9a65358f4fc',
        },
      },
      outcome: {
        outcome: 'accepted',
        code: 'HTTP_200',
        requestId: 'f8df74d1-11fa-4485-b164-b9a65358f4fc',
      },
    },
    {
      name: 'the older form of a success, without a request id',
      row: 'accepted',
      content: replyButtons(),
      reply: { status: 200, body: { status: true, message: 'WhatsApp request queued successfully' } },
      outcome: { outcome: 'accepted', code: 'HTTP_200' },
    },
    {
      name: 'a no with 401',
      row: '401',
      reply: refusal(401),
      outcome: {
        outcome: 'rejected',
        kind: 'credentials',
        code: 'HTTP_401',
        message: 'Something is wrong',
      },
    },
    {
      name: 'a no with 403',
      row: '403',
      reply: refusal(403),
      outcome: {
        outcome: 'rejected',
        kind: 'credentials',
        code: 'HTTP_403',
        message: 'Something is wrong',
      },
    },
    {
      name: 'a no with 429',
      row: '429',
      reply: { ...refusal(429), headers: { 'retry-after': '3' } },
      outcome: { outcome: 'throttled', code: 'HTTP_429', message: 'Something is wrong', retryAfterMs: 3_000 },
    },
    {
      name: 'a no with 500',
      row: '5xx',
      reply: refusal(500),
      outcome: { outcome: 'unavailable', code: 'HTTP_500', message: 'Something is wrong' },
    },
    {
      name: 'a no with 400',
      row: 'otherwise',
      reply: refusal(400),
      outcome: { outcome: 'rejected', kind: 'content', code: 'HTTP_400', message: 'Something is wrong' },
    },
    {
      name: 'a no with 200, in the older form',
      row: 'otherwise',
      reply: { status: 200, body: { status: false, message: 'Session is not active' } },
      outcome: { outcome: 'rejected', kind: 'content', code: 'HTTP_200', message: 'Session is not active' },
    },
    {
      name: 'a yes with 500 is no yes',
      reply: { status: 500, body: { success: true, message: 'queued', request_id: 'r1' } },
      outcome: { outcome: 'uncertain', answered: false, code: 'HTTP_500', message: 'queued' },
    },
  ],
  refusals: [],
  receipts,
}
