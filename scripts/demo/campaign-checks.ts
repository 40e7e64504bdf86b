import type { CampaignView } from '@wa-dispatch/dispatch'
import type { Uploaded } from './campaign-client.ts'
import type { ArrivedRequest } from './simulator.ts'
import { type Check, countBy } from './tally.ts'
import { amount } from './terminal.ts'

/** A row of the report, as much of it as is checked. */
export interface ReportRow {
  to: string
  state: string
  attempts: number
  /** Milliseconds since 1970; undefined before there was one. */
  firstAttemptAt: number | undefined
}

/** What a campaign has come to. Everything is told by the API or the simulator; nothing is assumed. */
export interface CampaignTally {
  /** In the file, without its header. */
  rows: number
  uploaded: Uploaded
  /** As it was read at last. */
  view: CampaignView
  /** How often it was read, and how often its counts did not add up to its total. */
  looks: number
  wrongLooks: number
  /** When the pause was answered and when it was asked to go on; milliseconds since 1970. */
  pause: { fromMs: number; toMs: number }
  /** What opened the breaker, how many it kept from being tried, and whether it closed by itself. */
  stop: { code: string; waiting: number; isHealed: boolean } | undefined
  report: ReportRow[]
  /** Every request of the campaign's sender, in the order in which they came in. */
  arrived: ArrivedRequest[]
}

/** From then on nothing is begun any more; what was in flight may still arrive. */
export const pauseGraceMs = 1_000

/** Holds the report against the counts, and both against what came in at the provider. */
export function checkCampaign(tally: CampaignTally): Check[] {
  const { rows, uploaded, view, looks, wrongLooks, report, arrived, pause, stop } = tally
  const { accepted, rejected, duplicates } = uploaded
  const reported = new Map(countBy(report, ({ state }) => state))
  const counts = Object.entries(view.counts).filter(([, count]) => count > 0)
  const requests = new Map(countBy(arrived, ({ recipient }) => recipient))
  const taken = new Map(
    countBy(
      arrived.filter((request) => request.accepted),
      ({ recipient }) => recipient,
    ),
  )
  const attempts = report.reduce((sum, row) => sum + row.attempts, 0)
  const met = arrived.filter(({ answer }) => answer?.code === stop?.code).length
  const isSubmitted = ({ state }: ReportRow) => state === 'submitted'
  const pausedSeconds = ((pause.toMs - pause.fromMs) / 1_000).toFixed(1)
  const sum = (words: [string, number][]) =>
    words.map(([word, count]) => `${amount(count)} ${word}`).join(' + ')
  return [
    {
      what: `${sum([
        ['accepted', accepted],
        ['rejected', rejected],
        ['duplicates', duplicates],
      ])} = ${amount(rows)} rows of the file`,
      holds: accepted + rejected + duplicates === rows,
    },
    { what: 'the campaign is finished', holds: view.state === 'finished' },
    {
      what: `the report has ${amount(report.length)} rows, as many as were accepted, and no recipient twice`,
      holds:
        report.length === accepted &&
        view.total === accepted &&
        new Set(report.map(({ to }) => to)).size === report.length,
    },
    {
      what: `${sum(counts)}, in the report as in the counts`,
      holds:
        counts.length === reported.size && counts.every(([state, count]) => reported.get(state) === count),
    },
    {
      what: `the counts added up to the total each of the ${amount(looks)} times that they were read`,
      holds: looks > 0 && wrongLooks === 0,
    },
    {
      what: 'every submitted message reached the provider exactly once, and nothing else did',
      holds:
        report.every((row) => (taken.get(row.to) ?? 0) === (isSubmitted(row) ? 1 : 0)) &&
        taken.size === report.filter(isSubmitted).length,
    },
    {
      what: `${amount(attempts)} attempts in the report, ${amount(arrived.length)} requests at the provider, recipient by recipient`,
      holds:
        attempts === arrived.length && report.every((row) => (requests.get(row.to) ?? 0) === row.attempts),
    },
    {
      what: `nothing came in during the ${pausedSeconds} s of the pause but what was in flight`,
      holds: beganInPause(tally).length === 0,
    },
    {
      what: stop
        ? `${stop.code} came ${amount(met)} times, then the breaker kept ${amount(stop.waiting)} from it until it closed by itself`
        : 'the breaker opened when the money ran out',
      holds: stop?.isHealed === true && met > 0 && stop.waiting > 0,
    },
  ]
}

/** What came in during the pause although it was begun when nothing should be. */
export function beganInPause({ report, arrived, pause }: CampaignTally): ArrivedRequest[] {
  const fromMs = pause.fromMs + pauseGraceMs
  const rows = new Map(report.map((row) => [row.to, row]))
  const wasInFlight = ({ recipient }: ArrivedRequest) => {
    const row = rows.get(recipient)
    return row?.attempts === 1 && row.firstAttemptAt !== undefined && row.firstAttemptAt <= fromMs
  }
  return arrived.filter(
    (request) => request.atMs > fromMs && request.atMs < pause.toMs && !wasInFlight(request),
  )
}
