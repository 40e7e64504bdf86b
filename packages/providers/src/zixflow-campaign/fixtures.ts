/** Zixflow's older campaign API, page for reply buttons: fields as listed there, `title` as a string. */
import { headers, type ProviderFixtures, reaction, replyButtons } from '../testing/fixtures.ts'
import type { ZixflowCampaignAccount } from './wire.ts'

/** A header as the page describes it: media is a plain URL. */
const printedHeaders = {
  text: { type: 'text', text: 'Your visit' },
  image: { type: 'image', image: 'https://media.example/a.jpg' },
  video: { type: 'video', video: 'https://media.example/a.mp4' },
  document: { type: 'document', document: 'https://media.example/a.pdf' },
}

function expected(header?: object) {
  return {
    method: 'POST',
    path: '/api/v1/campaign/whatsapp/message/send',
    headers: { 'content-type': 'application/json', authorization: 'Bearer zix_campaign_token' },
    body: {
      to: '919876543210',
      phoneId: 'phone-1',
      type: 'interactive',
      interactive: {
        type: 'button',
        ...(header && { header }),
        body: { text: 'Is *Tuesday* fine? 😀' },
        footer: { text: 'Reply within a day' },
        action: {
          buttons: [
            { type: 'reply', reply: { id: 'yes', title: 'Yes' } },
            { type: 'reply', reply: { id: 'no', title: 'No, thanks' } },
          ],
        },
      },
    },
  }
}

const kinds = ['text', 'image', 'video', 'document'] as const
const refusal = (status: number) => ({ status, body: { status: false, message: 'Something is wrong' } })
const said = { message: 'Something is wrong' }

export const fixtures: ProviderFixtures<ZixflowCampaignAccount> = {
  account: { token: 'zix_campaign_token', phoneId: 'phone-1' },
  requests: [
    { name: 'reply buttons without a header', content: replyButtons(), expected: expected() },
    ...kinds.map((kind) => ({
      name: `reply buttons with a header of the kind ${kind}`,
      content: replyButtons(headers[kind]),
      expected: expected(printedHeaders[kind]),
    })),
  ],
  replies: [
    {
      name: 'a yes, which carries no request id',
      row: 'accepted',
      content: replyButtons(),
      reply: { status: 200, body: { status: true, message: 'Message sent' } },
      outcome: { outcome: 'accepted', code: 'HTTP_200' },
    },
    {
      name: "a yes with the message id of their SDK's types",
      row: 'accepted',
      content: replyButtons(),
      reply: { status: 200, body: { status: true, message: 'Message sent', messageId: 'm-1' } },
      outcome: { outcome: 'accepted', code: 'HTTP_200', requestId: 'm-1' },
    },
    {
      name: 'a no with 401',
      row: '401',
      reply: refusal(401),
      outcome: { outcome: 'rejected', kind: 'credentials', code: 'HTTP_401', ...said },
    },
    {
      name: 'a no with 403',
      row: '403',
      reply: refusal(403),
      outcome: { outcome: 'rejected', kind: 'credentials', code: 'HTTP_403', ...said },
    },
    {
      name: 'a no with 429',
      row: '429',
      reply: refusal(429),
      outcome: { outcome: 'throttled', code: 'HTTP_429', ...said },
    },
    {
      name: 'a no with 500',
      row: '5xx',
      reply: refusal(500),
      outcome: { outcome: 'unavailable', code: 'HTTP_500', ...said },
    },
    {
      name: 'a no with 200',
      row: 'otherwise',
      reply: refusal(200),
      outcome: { outcome: 'rejected', kind: 'content', code: 'HTTP_200', ...said },
    },
  ],
  refusals: [
    { name: 'a reaction', content: reaction, issues: [{ path: ['type'] }] },
    {
      name: 'media by id',
      content: replyButtons({ type: 'video', video: { id: '1' } }),
      issues: [{ path: ['interactive', 'header', 'video', 'id'] }],
    },
    {
      name: "a document's file name",
      content: replyButtons({
        type: 'document',
        document: { link: 'https://media.example/a.pdf', filename: 'a.pdf' },
      }),
      issues: [{ path: ['interactive', 'header', 'document', 'filename'] }],
    },
    {
      name: 'a document by id with a file name',
      content: replyButtons({ type: 'document', document: { id: '1', filename: 'a.pdf' } }),
      issues: [
        { path: ['interactive', 'header', 'document', 'id'] },
        { path: ['interactive', 'header', 'document', 'filename'] },
      ],
    },
  ],
}
