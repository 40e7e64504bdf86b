import { rename, rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CampaignView } from '@wa-dispatch/dispatch'
import type { CampaignTally, ReportRow } from './campaign-checks.ts'
import { CampaignClient } from './campaign-client.ts'
import { type CampaignExample, countRows, readReport } from './campaign-files.ts'
import { CampaignProgress, countDone } from './campaign-progress.ts'
import {
  describeBreaker,
  describePause,
  describeResolved,
  describeStop,
  writeDryRun,
  writeFailed,
  writeUploaded,
} from './campaign-summary.ts'
import type { ApiClient, Breaker } from './client.ts'
import { separator } from './progress.ts'
import { type ArrivedRequest, arrivedRequests, refill } from './simulator.ts'
import { amount, table } from './terminal.ts'

export interface CampaignOptions {
  api: ApiClient
  simulatorUrl: string
  example: CampaignExample
  /** The CSV file of its recipients. */
  file: string
  /** Where the report goes. */
  reportFile: string
  signal: AbortSignal
}

const lookEveryMs = 250
/** The pause comes when so much of it is done. */
const pauseAtShare = 0.45
const pauseMs = 4_000
/** What the sender cannot pay for fails with this; paid, it is worth another try. */
const unpaid = 'E110'
/** Where something hangs, the run ends and its sums say so. */
const longestRunMs = 120_000

/** Takes a campaign the whole way, and says meanwhile what it does. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignTally> {
  const { api, simulatorUrl, example, file, reportFile, signal } = options
  const {
    sender,
    request: { account },
  } = example
  const deadline = performance.now() + longestRunMs
  const progress = new CampaignProgress()
  let looks = 0
  let wrongLooks = 0

  const rows = await countRows(file)
  const campaign = await CampaignClient.create(api, example.request, signal)
  const beganAt = performance.now()
  const uploaded = await campaign.upload(file)
  writeUploaded(uploaded, performance.now() - beganAt)
  writeDryRun(campaign.id, await campaign.check())

  progress.note('', `Started: POST /v1/campaigns/${campaign.id}/start`)
  await campaign.act('start')
  await watch((view) => countDone(view) >= view.total * pauseAtShare)
  const pause = await rest()
  const stop = await payWhenStopped()
  await watch(isAtRest)
  await retryUnpaid()
  await resolveUncertain()
  const view = await watch(({ state }) => state === 'finished')
  progress.end()

  const report = await download()
  return {
    rows,
    uploaded,
    view,
    looks,
    wrongLooks,
    pause,
    stop,
    report,
    arrived: await arrivedRequests(simulatorUrl, sender, signal),
  }

  /** Whole or not at all, and ours, also when another demo is at the same place. */
  async function download(): Promise<ReportRow[]> {
    const unfinished = `${reportFile}.${campaign.id}`
    try {
      await campaign.download(unfinished)
      const rows = await readReport(unfinished)
      await rename(unfinished, reportFile)
      return rows
    } finally {
      await rm(unfinished, { force: true })
    }
  }

  async function look(): Promise<CampaignView> {
    const view = await campaign.read()
    const counted = Object.values(view.counts).reduce((sum, count) => sum + count, 0)
    looks += 1
    if (counted !== view.total) wrongLooks += 1
    return view
  }

  /** Shows how it goes until it is as wanted, or nothing can be expected any more. */
  async function watch(
    isEnough: (view: CampaignView) => boolean | Promise<boolean>,
    describePace?: () => string,
  ): Promise<CampaignView> {
    for (;;) {
      const view = await look()
      progress.show(view, describePace?.())
      if ((await isEnough(view)) || view.state === 'finished' || performance.now() > deadline) return view
      await sleep(lookEveryMs, undefined, { signal })
    }
  }

  /** Pauses for a while, and counts at the provider what comes in all the same. */
  async function rest(): Promise<CampaignTally['pause']> {
    await campaign.act('pause')
    const fromMs = Date.now()
    const came: ArrivedRequest[] = []
    const earlier = await arrivedRequests(simulatorUrl, sender, signal)
    came.push(...earlier.filter(({ atMs }) => atMs > fromMs))
    let seq = earlier.at(-1)?.seq ?? 0
    progress.note(`Paused after ${amount(earlier.length - came.length)} requests at the provider`)
    while (Date.now() < fromMs + pauseMs) {
      await sleep(lookEveryMs, undefined, { signal })
      const more = await arrivedRequests(simulatorUrl, sender, signal, seq)
      seq = more.at(-1)?.seq ?? seq
      came.push(...more)
      const seconds = ((Date.now() - fromMs) / 1_000).toFixed(1)
      progress.show(await look(), [`paused for ${seconds} s`, describePause(came, fromMs)].join(separator()))
    }
    const toMs = Date.now()
    await campaign.act('resume')
    progress.note(`Resumed after ${((toMs - fromMs) / 1_000).toFixed(1)} s: ${describePause(came, fromMs)}`)
    return { fromMs, toMs }
  }

  /** Pays, and nothing else: a probe finds out by itself. @returns undefined when nothing stopped the lane */
  async function payWhenStopped(): Promise<CampaignTally['stop']> {
    let breaker: Breaker = { state: 'closed' }
    const isClosed = async () => {
      breaker = await api.breaker(account)
      return breaker.state === 'closed'
    }
    await watch(async (view) => isAtRest(view) || !(await isClosed()))
    const { since, reason } = breaker
    if (!since || !reason) return undefined
    // What is in flight has its answer before it is counted.
    const view = await watch(
      ({ counts }) => !counts.sending,
      () => describeBreaker(breaker),
    )
    const waiting = view.total - countDone(view)
    const met = (await campaign.messages('failed')).filter(({ error }) => error?.code === reason.code)
    progress.note('', ...describeStop(account, reason, met.length, waiting))
    await refill(simulatorUrl, sender, view.total, signal)
    progress.note(`Paid the provider for ${amount(view.total)} more, and nothing else`)
    await watch(isClosed, () => describeBreaker(breaker))
    const isHealed = breaker.state === 'closed'
    const seconds = ((Date.now() - Date.parse(since)) / 1_000).toFixed(1)
    if (isHealed) progress.note(`The breaker closed by itself after ${seconds} s: a probe was accepted`)
    return { code: reason.code, waiting, isHealed }
  }

  async function retryUnpaid(): Promise<void> {
    const failed = await campaign.messages('failed')
    progress.end()
    writeFailed(failed)
    if (!failed.some(({ error }) => error?.code === unpaid)) return
    await campaign.retry([unpaid])
    progress.note('', `There is money again: POST …/retry {"codes":["${unpaid}"]}`)
    await watch(isAtRest)
  }

  /** As an operator would: the provider knows which messages came in although their answers were lost. */
  async function resolveUncertain(): Promise<void> {
    for (;;) {
      const uncertain = await campaign.messages('uncertain')
      if (uncertain.length === 0 || performance.now() > deadline) return
      const arrived = await arrivedRequests(simulatorUrl, sender, signal)
      const taken = new Set(arrived.filter(({ accepted }) => accepted).map(({ recipient }) => recipient))
      for (const message of uncertain) {
        await campaign.resolve(message, taken.has(message.to) ? 'submitted' : 'resend')
      }
      progress.note('', ...table([[describeResolved(uncertain, taken)]], 0))
      await watch(isAtRest)
    }
  }
}

/** Whether nothing more happens by itself. */
const isAtRest = ({ waiting_for: waits }: CampaignView): boolean =>
  waits.every((what) => what.includes('uncertain'))
