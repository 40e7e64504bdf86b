import type { MessageView } from '@wa-dispatch/dispatch'
import { expect, test } from 'vitest'
import type { TakenMessage } from './simulator.ts'
import { checkTally, countTakenUncertain, type Tally } from './tally.ts'

/** Three buttons and a reaction: submitted, failed, uncertain, submitted; and a refused row. */
function tally(change: Partial<Tally> = {}): Tally {
  const states = ['submitted', 'failed', 'uncertain', 'submitted']
  const accepted = states.map((_, index) => ({
    line: index + 2,
    id: `msg_${index}`,
    account: 'a',
    to: `447700900${index}`,
    type: index === 3 ? 'reaction' : 'interactive',
  }))
  const views = new Map(states.map((state, index) => [`msg_${index}`, { state } as MessageView]))
  return {
    rows: 5,
    refused: [{ line: 6, by: 'API', why: 'to' }],
    accepted,
    views,
    durationMs: 1,
    ...change,
  }
}

const taken = (...indexes: number[]): TakenMessage[] =>
  indexes.map((index) => ({
    recipient: `447700900${index}`,
    type: index === 3 ? 'reaction' : 'interactive',
    requestId: 'r',
  }))

const broken = (of: Tally, by: TakenMessage[]) =>
  checkTally(of, by)
    .filter(({ holds }) => !holds)
    .map(({ what }) => what)

test('a run that adds up passes, whether an uncertain message arrived or not, and with a reaction sent twice', () => {
  expect(broken(tally(), taken(0, 3))).toEqual([])
  expect(broken(tally(), taken(0, 2, 3, 3))).toEqual([])
  expect(countTakenUncertain(tally(), taken(0, 3))).toBe(0)
  expect(countTakenUncertain(tally(), taken(0, 2, 3))).toBe(1)
})

test('what receipts say afterwards changes nothing of what became of sending', () => {
  const later = tally()
  later.views.set('msg_0', { state: 'read' } as MessageView)
  later.views.set('msg_3', { state: 'failed', error: { at: 'delivery' } } as MessageView)
  expect(broken(later, taken(0, 3))).toEqual([])
  expect(broken(later, taken(0))).toEqual(['every submitted message reached its provider'])
})

test('a row that was dropped is found', () => {
  expect(broken(tally({ rows: 6 }), taken(0, 3))).toEqual(['4 accepted + 1 refused = 6 rows'])
})

test('a message that never ended, or that nobody knows, is found', () => {
  const open = tally()
  open.views.set('msg_1', { state: 'retrying' } as MessageView)
  expect(broken(open, taken(0, 3))).toEqual([expect.stringContaining('1 retrying')])
  const lost = tally()
  lost.views.delete('msg_1')
  expect(broken(lost, taken(0, 3))).toEqual([expect.stringContaining('= 4 accepted')])
})

test('what the providers saw is held against what was told', () => {
  expect(broken(tally(), taken(3))).toEqual(['every submitted message reached its provider'])
  expect(broken(tally(), taken(0, 1, 3))).toContain('no failed or refused message reached a provider')
  expect(broken(tally(), taken(0, 3, 8))).toContain('no failed or refused message reached a provider')
  expect(broken(tally(), taken(0, 0, 3))).toEqual(['no reply buttons reached a provider twice'])
})
