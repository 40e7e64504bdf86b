/** Campaigns through our API, as a caller would do it. */
import { createReadStream } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type CampaignRecord, Campaigns, Ledger, parseCampaignId } from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'
import { authorization, type Deployment } from './deployment.ts'
import { message } from './given.ts'

/** As that of single messages, with two words from each row. */
const template = {
  ...message,
  interactive: {
    ...message.interactive,
    body: {
      text: 'Hello {{name}}, your order {{order}} arrives on Tuesday between 9 and 12. Is this time good for you?',
    },
  },
}

export interface CampaignOptions {
  account: string
  weight?: number
}

/** @returns the id of a draft */
export async function createCampaign(deployment: Deployment, options: CampaignOptions): Promise<string> {
  const { id } = await deployment.call('POST', '/v1/campaigns', {
    name: 'bench',
    message: template,
    ...options,
  })
  return id
}

const LONGEST_UPLOAD_MS = 900_000

/** Streams a file of recipients. @throws when not each of its rows was accepted */
export async function upload({ apiUrl }: Deployment, id: string, file: string, rows: number): Promise<void> {
  const response = await fetch(`${apiUrl}/v1/campaigns/${id}/recipients`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'text/csv' },
    body: createReadStream(file),
    duplex: 'half',
    signal: AbortSignal.timeout(LONGEST_UPLOAD_MS),
  })
  const answer = await response.text()
  const { accepted } = (response.ok ? JSON.parse(answer) : {}) as { accepted?: number }
  if (accepted !== rows) throw new Error(`of ${rows} rows not all were accepted: ${answer.slice(0, 500)}`)
}

export const act = (deployment: Deployment, id: string, action: 'start' | 'pause' | 'resume' | 'cancel') =>
  deployment.call('POST', `/v1/campaigns/${id}/${action}`)

/** @throws when the counts do not add up to the campaign's rows */
export async function countsOf(deployment: Deployment, id: string): Promise<Record<string, number>> {
  const { total, counts } = await deployment.call('GET', `/v1/campaigns/${id}`)
  const sum = Object.values(counts as Record<string, number>).reduce((all, count) => all + count, 0)
  if (sum !== total) throw new Error(`the counts of ${id} add up to ${sum}, not to ${total}`)
  return counts
}

const LONGEST_WAIT_MS = 600_000

/** Asks again and again. @throws when it takes too long */
export async function until(what: string, isSo: () => Promise<boolean>, everyMs = 50): Promise<void> {
  const deadline = performance.now() + LONGEST_WAIT_MS
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`not ${what} within ${LONGEST_WAIT_MS / 1000} s`)
    await sleep(everyMs)
  }
}

/** What the API does not tell, read from Redis as the worker does. */
export async function insideOf(redis: Redis, accounts: readonly string[]) {
  const ledger = new Ledger({ redis, retentionDays: 7 })
  await ledger.open([...accounts])
  const campaigns = new Campaigns({ redis, ledger, retentionDays: 7 })
  return {
    record: async (id: string): Promise<CampaignRecord> => {
      const record = await campaigns.read(parseCampaignId(id)!)
      if (!record) throw new Error(`${id} is gone`)
      return record
    },
    /** Waits until the campaigns of these accounts are finished, and nothing is left to be done for them. */
    retired: () =>
      until('retired', async () => {
        const active = await Promise.all(accounts.map((account) => campaigns.active(account)))
        return active.flat().length === 0
      }),
  }
}
