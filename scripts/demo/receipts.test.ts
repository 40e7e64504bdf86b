import type { MessageView } from '@wa-dispatch/dispatch'
import { expect, test } from 'vitest'
import { checkReceipts, settledByReceipts } from './receipts.ts'
import type { ToldReceipt } from './simulator.ts'
import type { Tally } from './tally.ts'

const view = (change: Partial<MessageView>): MessageView =>
  ({ attempts: [{ outcome: 'accepted' }], receipts: [], error: null, ...change }) as MessageView

const events = (...types: string[]) => types.map((type) => ({ type })) as MessageView['post_backs']

/** One that was delivered, one whose answer was lost and that nobody knows of, one that was refused. */
function given() {
  const views = [
    view({
      id: 'msg_1',
      request_id: 'r1',
      state: 'delivered',
      receipts: [
        { at: '', status: 'sent' },
        { at: '', status: 'delivered' },
      ],
      post_backs: events('message.submitted', 'message.delivered'),
    }),
    view({ id: 'msg_2', state: 'uncertain', attempts: [{ at: '', outcome: 'uncertain' }] }),
    view({ id: 'msg_3', state: 'failed', post_backs: events('message.failed') }),
  ]
  const told = [
    { requestId: 'r1', reference: 'msg_1', status: 'sent', state: 'acknowledged' },
    { requestId: 'r1', reference: null, status: 'delivered', state: 'acknowledged' },
    { requestId: 'r1', reference: null, status: 'delivered', state: 'acknowledged' },
    { requestId: 'r2', reference: null, status: 'sent', state: 'acknowledged' },
  ] satisfies ToldReceipt[]
  const heard = new Map([
    ['msg_1', ['message.submitted', 'message.delivered']],
    ['msg_3', ['message.failed']],
  ])
  return { views, told: told as ToldReceipt[], heard, listed: new Set(['r2']), refused: 0 }
}

const holding = ({ views, told, heard, listed, refused }: ReturnType<typeof given>) => {
  const tally = { views: new Map(views.map((one) => [one.id, one])) } as unknown as Tally
  return checkReceipts(tally, told, listed, { heard, refused: () => refused }).map(({ holds }) => holds)
}

test('what providers told and what callers heard agrees', () => {
  expect(holding(given())).toEqual([true, true])
})

test('a receipt that is neither on its message nor listed is found, and one that was not taken', () => {
  const lacking = given()
  lacking.views[0]!.receipts.pop()
  expect(holding(lacking)).toEqual([false, true])
  expect(holding({ ...given(), listed: new Set() })).toEqual([false, true])
  const refused = given()
  refused.told[0]!.state = 'given-up'
  expect(holding(refused)).toEqual([false, true])
})

test('an event that the caller did not hear, heard in another order, or did not believe is found', () => {
  const deaf = given()
  deaf.heard.delete('msg_3')
  expect(holding(deaf)).toEqual([true, false])
  const disordered = given()
  disordered.heard.get('msg_1')!.reverse()
  expect(holding(disordered)).toEqual([true, false])
  expect(holding({ ...given(), refused: 1 })).toEqual([true, false])
})

test('settled is what was uncertain and turned out to have arrived', () => {
  const uncertain = [{ at: '', outcome: 'uncertain' as const }]
  const arrived = view({ state: 'read', attempts: uncertain })
  const failed = view({ state: 'failed', attempts: uncertain, error: { at: 'delivery' } as never })
  expect(settledByReceipts([...given().views, arrived, failed])).toEqual([arrived, failed])
})
