import type { CampaignView } from '@wa-dispatch/dispatch'
import { expect, test } from 'vitest'
import { beganInPause, type CampaignTally, checkCampaign, type ReportRow } from './campaign-checks.ts'
import type { ArrivedRequest } from './simulator.ts'

const row = (to: string, change: Partial<ReportRow> = {}): ReportRow => ({
  to,
  state: 'submitted',
  attempts: 1,
  firstAttemptAt: 500,
  ...change,
})

const request = (recipient: string, change: Partial<ArrivedRequest> = {}): ArrivedRequest => ({
  seq: 1,
  recipient,
  accepted: true,
  answer: { code: 'WA202' },
  atMs: 500,
  ...change,
})

/** Two submitted, one of them at the second attempt, and one failed; a row rejected and one there twice. */
function tally(change: Partial<CampaignTally> = {}): CampaignTally {
  return {
    rows: 5,
    uploaded: { accepted: 3, rejected: 1, duplicates: 1, errors: [] },
    view: { state: 'finished', total: 3, counts: { submitted: 2, failed: 1, queued: 0 } } as CampaignView,
    looks: 4,
    wrongLooks: 0,
    pause: { fromMs: 10_000, toMs: 14_000 },
    stop: { code: 'E110', waiting: 1, isHealed: true },
    report: [row('1'), row('2', { attempts: 2 }), row('3', { state: 'failed' })],
    arrived: [
      request('1'),
      request('2', { accepted: false, answer: { code: 'E110' } }),
      request('3', { accepted: false }),
      request('2', { atMs: 15_000 }),
    ],
    ...change,
  }
}

const broken = (change: Partial<CampaignTally> = {}) =>
  checkCampaign(tally(change))
    .filter(({ holds }) => !holds)
    .map(({ what }) => what)

test('a campaign that adds up passes', () => {
  expect(broken()).toEqual([])
})

test('a row of the file that nobody told of is found', () => {
  expect(broken({ rows: 6 })).toEqual(['3 accepted + 1 rejected + 1 duplicates = 6 rows of the file'])
})

test('a campaign that is not finished, or whose counts were wrong for a moment, is found', () => {
  const running = { ...tally().view, state: 'running' as const }
  expect(broken({ view: running })).toEqual(['the campaign is finished'])
  expect(broken({ wrongLooks: 1 })).toEqual([expect.stringContaining('the counts added up')])
})

test('a report that lacks a row, has one twice, or tells other states than the counts is found', () => {
  const { report } = tally()
  expect(broken({ report: report.slice(1) })).toContainEqual(expect.stringContaining('the report has 2 rows'))
  expect(broken({ report: [report[0]!, report[0]!, report[2]!] })).toContainEqual(
    expect.stringContaining('no recipient twice'),
  )
  const counts = { submitted: 1, failed: 1, uncertain: 1 }
  expect(broken({ view: { ...tally().view, counts } })).toEqual([
    '1 submitted + 1 failed + 1 uncertain, in the report as in the counts',
  ])
})

test('what the provider saw is held against the report', () => {
  const { arrived, report } = tally()
  const once = expect.stringContaining('exactly once')
  const attempts = expect.stringContaining('attempts in the report')
  // Lost, sent twice, sent to somebody who is not in the campaign, and taken although it is told as failed.
  expect(broken({ arrived: arrived.slice(1) })).toEqual([once, attempts])
  expect(broken({ arrived: [...arrived, request('1')] })).toEqual([once, attempts])
  expect(broken({ arrived: [...arrived, request('9')] })).toEqual([once, attempts])
  const taken = arrived.map((one) => (one.recipient === '3' ? request('3') : one))
  expect(broken({ arrived: taken })).toEqual([once])
  // As many in all, but not for each.
  const shifted = [row('1', { attempts: 2 }), row('2'), report[2]!]
  expect(broken({ report: shifted })).toEqual([attempts])
})

test('money that ran out without a stop, and a breaker that stopped nothing or stayed open, are found', () => {
  const stop = tally().stop!
  const wrong = [expect.stringMatching(/E110 came 1 times, then the breaker kept/)]
  expect(broken({ stop: undefined })).toEqual(['the breaker opened when the money ran out'])
  expect(broken({ stop: { ...stop, isHealed: false } })).toEqual(wrong)
  expect(broken({ stop: { ...stop, waiting: 0 } })).toEqual([expect.stringContaining('kept 0 from it')])
  expect(broken({ stop: { ...stop, code: 'WA500' } })).toEqual([expect.stringContaining('came 0 times')])
})

test('what was begun in the pause is found; what was in flight before it is not', () => {
  const late = (atMs: number, firstAttemptAt: number) => {
    const { arrived, report } = tally()
    return tally({
      arrived: [request('1', { atMs }), ...arrived.slice(1)],
      report: [row('1', { firstAttemptAt }), ...report.slice(1)],
    })
  }
  expect(beganInPause(late(10_900, 10_800))).toEqual([])
  expect(beganInPause(late(12_000, 9_900))).toEqual([])
  expect(beganInPause(late(14_100, 14_050))).toEqual([])
  expect(beganInPause(late(12_000, 11_900))).toHaveLength(1)
  expect(broken(late(12_000, 11_900))).toEqual([
    'nothing came in during the 4.0 s of the pause but what was in flight',
  ])
})
