/** A provider that allows less than the account says: how soon its limit is found out, and how it is kept and used. */
import { setTimeout as sleep } from 'node:timers/promises'
import { rateOf } from '../test/pace.ts'
import { readArrivals } from './arrivals.ts'
import { type House, laneOf } from './house.ts'
import { fillLane, PROCESSES } from './limited-sides.ts'
import { control } from './simulator.ts'

/** Per second: what it allows in any second, wherever that begins, and what the account says. */
export const ALLOWED = { really: 40, configured: 80 }

export interface FoundOut {
  /** Whether its refusals say when to come again. */
  saysWhen: boolean
  /** Of all its answers once it had the time to settle, and before. */
  refusedShare: number
  refusedBefore: number
  /** Accepted ones, once it had the time to settle. */
  perSecond: number
}

export interface FoundOutOptions {
  settlingSeconds: number
  /** For how long it is looked at after that. */
  seconds: number
  log: (line: string) => void
}

/** Starts all that is needed, so that nothing is started any more while others are looked at. */
export async function openFoundOut(
  house: House,
  options: FoundOutOptions,
): Promise<{ measure(): Promise<FoundOut[]>; close(): Promise<void> }> {
  const { settlingSeconds, seconds, log } = options
  const apps = [true, false].map((saysWhen) => ({ saysWhen, id: saysWhen ? 'says-when' : 'says-nothing' }))
  const token = 'a-token-of-the-app'
  for (const { id, saysWhen } of apps)
    await control(house.simulatorUrl, 'PUT', `accounts/gupshup/${id}`, {
      credentials: { token },
      rateLimit: { perSecond: ALLOWED.really, ...(saysWhen && { retryAfter: 1 }) },
    })
  const rateLimit = { perSecond: ALLOWED.configured }
  const accounts = apps.map(({ id }) => ({ id, provider: 'gupshup', appId: id, token, rateLimit }))
  const deployment = await house.deploy('found-out', accounts)
  const both = (action: 'pause' | 'resume') =>
    Promise.all(apps.map(({ id }) => deployment.call('POST', `/v1/accounts/${id}/${action}`)))
  await both('pause')
  const enough = ALLOWED.configured * (settlingSeconds + seconds + 5)
  for (const { id } of apps) await fillLane(house, deployment, id, enough)
  for (let count = 0; count < PROCESSES; count++) await deployment.startWorker()
  return {
    async measure() {
      await both('resume')
      await sleep((settlingSeconds + seconds + 1) * 1_000)
      const found = await Promise.all(apps.map(({ id, saysWhen }) => look(id, saysWhen)))
      await both('pause')
      return found
    },
    close: () => deployment.stop(),
  }

  async function look(id: string, saysWhen: boolean): Promise<FoundOut> {
    const failed = await (await laneOf(house, id)).getFailedCount()
    if (failed > 0) throw new Error(`${failed} messages failed where they were only too many`)
    const all = await readArrivals(house.simulatorUrl, 0, id)
    const settledAt = (all[0]?.atMs ?? 0) + settlingSeconds * 1_000
    const settled = all.filter(({ atMs }) => atMs >= settledAt && atMs < settledAt + seconds * 1_000)
    const refused = (some: typeof all) => some.filter(({ answer }) => answer.status === 429).length
    const found = {
      saysWhen,
      refusedShare: refused(settled) / settled.length,
      refusedBefore: refused(all.filter(({ atMs }) => atMs < settledAt)),
      perSecond: rateOf(settled.filter(({ accepted }) => accepted)),
    }
    log(
      `limits: really ${ALLOWED.really} a second (${id}): ${found.perSecond.toFixed(1)} accepted, ` +
        `${(found.refusedShare * 100).toFixed(1)} % refused, ${found.refusedBefore} before it was found out`,
    )
    return found
  }
}
