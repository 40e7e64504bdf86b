/** How long a campaign will take, and what stands in its way. */
import type { CampaignRecord } from '@wa-dispatch/dispatch'
import type { Storage } from '../../storage.ts'

export interface Forecast {
  /** Messages and rows that are still to be sent. */
  waiting: number
  perSecond: number
  durationSeconds: number
  /** Milliseconds since 1970. */
  beginsAt: number
  endsAt: number
}

const NOT_BEGUN: ReadonlySet<CampaignRecord['state']> = new Set(['draft', 'scheduled', 'paused'])

/** @param perSecond the account's limit @param now milliseconds since 1970 */
export function forecast(
  { counts, state, definition: { sendAt = 0 } }: CampaignRecord,
  perSecond: number,
  now: number,
): Forecast {
  const waiting = (counts.scheduled ?? 0) + (counts.queued ?? 0) + (counts.retrying ?? 0)
  const durationSeconds = Math.ceil(waiting / perSecond)
  const beginsAt = NOT_BEGUN.has(state) ? Math.max(now, sendAt) : now
  return { waiting, perSecond, durationSeconds, beginsAt, endsAt: beginsAt + durationSeconds * 1_000 }
}

/** What whoever starts the campaign should know, in words. */
export async function warningsOf(
  storage: Storage,
  campaign: CampaignRecord,
  ahead: Forecast,
): Promise<string[]> {
  const { account } = campaign.definition
  const [paused, { unsafe }, rivals] = await Promise.all([
    storage.lanes.get(account)?.isPaused(),
    storage.state(),
    runningBeside(storage, campaign),
  ])
  return [
    campaign.total === 0 && 'The campaign has no rows.',
    expiry(campaign, ahead),
    paused && `The lane of ${account} is paused: nothing is sent until it is resumed.`,
    rivals === 1 &&
      'Another campaign is running on this lane: they share its limit, so this one takes longer.',
    rivals > 1 &&
      `${rivals} campaigns are running on this lane: they share its limit, so this one takes longer.`,
    ...unsafe.map((reason) => `The store is not safe: ${reason}.`),
  ].filter((warning) => typeof warning === 'string')
}

const instant = (milliseconds: number) => new Date(milliseconds).toISOString()

function expiry(
  { definition: { expiresAt } }: CampaignRecord,
  { waiting, perSecond, beginsAt, endsAt }: Forecast,
): string | undefined {
  if (expiresAt === undefined || waiting === 0 || endsAt <= expiresAt) return undefined
  const sent = Math.max(0, Math.floor(((expiresAt - beginsAt) / 1_000) * perSecond))
  if (sent === 0) return `Nothing would be sent: it expires at ${instant(expiresAt)}, before it can begin.`
  return (
    `At ${perSecond} a second it would end at ${instant(endsAt)}, after it expires at ${instant(expiresAt)}: ` +
    `about ${waiting - sent} messages would not be sent.`
  )
}

/** How many other campaigns of the account are running. */
async function runningBeside({ campaigns, ledger }: Storage, campaign: CampaignRecord): Promise<number> {
  const { account } = campaign.definition
  const numbers = (await campaigns.active(account)).filter((number) => number !== campaign.id.number)
  const others = await Promise.all(
    numbers.map((number) => campaigns.readNumber(ledger.numberOf(account), number)),
  )
  return others.filter((other) => other?.state === 'running').length
}
