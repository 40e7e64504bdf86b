/** Kaleyra, "Send Reaction Messages": samples as printed there, letters X in numbers replaced by digits. */
import { headers, type ProviderFixtures, reaction, replyButtons } from '../testing/fixtures.ts'
import { receipts } from './receipt-fixtures.ts'
import type { KaleyraAccount } from './wire.ts'

const path = '/v2/HXAP16XXXXXX97IN/whatsapp/910000000000/messages'
const requestHeaders = {
  'content-type': 'application/json',
  'api-key': 'Axxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx3',
  'cache-control': 'no-cache',
}
const account401 = 'API is not available for given customer.Please contact support for more info'
const version401 =
  "The phone number you're using is associated with different Version of our WA API. Please use the appropriate endpoint."
const balance = 'Please check your balance, You have a low balance!'
const notOurs = 'Phone number is not present or does not belong to the account.'

export const fixtures: ProviderFixtures<KaleyraAccount> = {
  account: {
    sid: 'HXAP16XXXXXX97IN',
    apiKey: 'Axxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx3',
    sender: '910000000000',
  },
  requests: [
    {
      name: 'Sample Request Format',
      content: reaction,
      id: 'customer1',
      to: '911111111111',
      expected: {
        method: 'POST',
        path,
        headers: requestHeaders,
        // Without ref1, ref2 and wa_source, which are optional and ours to leave out.
        body: String.raw`{
"messaging_object": {
"messaging_product": "whatsapp",
"recipient_type": "individual",
"to": "+911111111111",
"type": "reaction",
"reaction": {
"message_id": "wamid.HBgLMxxx",
"emoji": "\uD83D\uDE00"
}
},
"extra_info": {
"ref": "customer1"
}
}`,
      },
    },
    {
      name: "reply buttons: WhatsApp's message object in the same frame",
      content: replyButtons(headers.document),
      expected: {
        method: 'POST',
        path,
        headers: requestHeaders,
        body: {
          messaging_object: {
            messaging_product: 'whatsapp',
            recipient_type: 'individual',
            to: '+919876543210',
            ...replyButtons(headers.document),
          },
          extra_info: { ref: 'msg_1' },
        },
      },
    },
  ],
  replies: [
    {
      name: 'Sample Success Response, printed without its commas',
      row: 'accepted',
      reply: {
        status: 202,
        body: `{
"code":"WA202"
"message":"Request Accepted",
"data":{
"message_id":"AXXXXXXXXXXXXXXXXXXX"
}
"error":{}
}`,
      },
      outcome: { outcome: 'accepted', code: 'WA202', requestId: 'AXXXXXXXXXXXXXXXXXXX' },
    },
    {
      name: 'success as other pages print it',
      row: 'accepted',
      reply: { status: 200, body: { code: 'WA200', message: 'OK', data: { message_id: 'AX1' }, error: {} } },
      outcome: { outcome: 'accepted', code: 'WA200', requestId: 'AX1' },
    },
    {
      name: 'a success without a message id',
      reply: { status: 202, body: { code: 'WA202', message: 'Request Accepted', data: [], error: {} } },
      outcome: { outcome: 'uncertain', answered: true, code: 'WA202', message: 'Request Accepted' },
    },
    {
      name: '401 Unauthorized',
      row: 'RBC001',
      reply: {
        status: 401,
        body: {
          code: 'RBC001',
          message: 'Incorrect SID or API key.',
          data: [],
          error: { error: 'Incorrect SID or API key.' },
        },
      },
      outcome: {
        outcome: 'rejected',
        kind: 'credentials',
        code: 'RBC001',
        message: 'Incorrect SID or API key.',
      },
    },
    {
      name: '401 Unauthorized phone number',
      row: 'WA401',
      reply: {
        status: 401,
        body: { code: 'WA401', message: notOurs, data: {}, error: { phone_number: notOurs } },
      },
      outcome: { outcome: 'rejected', kind: 'credentials', code: 'WA401', message: notOurs },
    },
    {
      name: '400 Incorrect payload',
      row: 'WA400',
      reply: {
        status: 400,
        body: {
          code: 'WA400',
          message: 'Refer to correct payload format',
          data: {},
          error: { payload: 'Incorrect payload format' },
        },
      },
      outcome: {
        outcome: 'rejected',
        kind: 'content',
        code: 'WA400',
        message: 'Refer to correct payload format',
      },
    },
    {
      name: '500 Internal Server Error',
      row: 'WA500',
      reply: {
        status: 500,
        body: {
          code: 'WA500',
          message: 'Please try again later',
          data: {},
          error: { error: 'Internal server error' },
        },
      },
      outcome: { outcome: 'unavailable', code: 'WA500', message: 'Please try again later' },
    },
    {
      name: '400 Low balance',
      row: 'E110',
      reply: { status: 400, body: { code: 'E110', message: balance, data: {}, error: { balance } } },
      outcome: { outcome: 'rejected', kind: 'balance', code: 'E110', message: balance },
    },
    {
      name: '401 Unauthorised Account type',
      row: 'WA-401 account',
      reply: {
        status: 401,
        body: { code: 'WA-401', message: account401, data: {}, error: { account: account401 } },
      },
      outcome: { outcome: 'rejected', kind: 'account', code: 'WA-401', message: account401 },
    },
    {
      name: '401 Unauthorized phone number version',
      row: 'WA-401 phone_number',
      reply: {
        status: 401,
        body: { code: 'WA-401', message: version401, data: {}, error: { phone_number: version401 } },
      },
      outcome: { outcome: 'rejected', kind: 'account', code: 'WA-401', message: version401 },
    },
    {
      name: 'WA-401 without words: what `error` names decides them',
      row: 'WA-401 phone_number',
      reply: { status: 401, body: { code: 'WA-401', data: {}, error: { phone_number: {} } } },
      outcome: {
        outcome: 'rejected',
        kind: 'account',
        code: 'WA-401',
        message: "The phone number you're using is associated with different Version of our WA API.",
      },
    },
    {
      name: 'the daily limit of the account',
      row: 'WAV2101',
      reply: { status: 400, body: { code: 'WAV2101', message: 'Daily limit reached', data: {}, error: {} } },
      outcome: { outcome: 'rejected', kind: 'account', code: 'WAV2101', message: 'Daily limit reached' },
    },
    {
      name: "WhatsApp's own code, passed on",
      reply: { status: 400, body: { code: '131009', message: 'Parameter value is not valid', data: {} } },
      outcome: {
        outcome: 'rejected',
        kind: 'content',
        code: '131009',
        message: 'Parameter value is not valid',
      },
    },
    {
      name: 'a server error of theirs with an unknown code',
      reply: {
        status: 500,
        headers: { 'retry-after': '30' },
        body: { code: 'WA599', message: 'Down', data: [], error: { error: 'Down' } },
      },
      outcome: { outcome: 'unavailable', code: 'WA599', message: 'Down', retryAfterMs: 30_000 },
    },
    {
      name: 'an unknown code that names no error',
      reply: { status: 500, body: { code: 'XX', message: 'Internal error' } },
      outcome: { outcome: 'uncertain', answered: false, code: 'XX', message: 'Internal error' },
    },
  ],
  refusals: [],
  receipts,
}
