/** A campaign by what a caller says. */
import { type CampaignRecord, parseCampaignId } from '@wa-dispatch/dispatch'
import { noSuchCampaign } from '../../problems.ts'
import type { Storage } from '../../storage.ts'

/** @throws {Problem} 404 for what is no id, is not kept any more, or is of an account that is not configured */
export async function findCampaign({ campaigns, accounts }: Storage, text: string): Promise<CampaignRecord> {
  const id = parseCampaignId(text)
  const record = id && (await campaigns.read(id))
  if (!record || !accounts.has(record.definition.account)) throw noSuchCampaign()
  return record
}
