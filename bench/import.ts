/** How fast a file of recipients is taken in, and what Redis then holds: our upload against rivals/import.ts. */
import { join } from 'node:path'
import { freePort } from '../scripts/processes.ts'
import { createCampaign, upload } from './campaigns.ts'
import { account } from './given.ts'
import type { House } from './house.ts'
import { type Cost, peakMemoryOf, restingMemory, startMeter } from './meters.ts'
import { inPairs, type Pair, type Side } from './pairs.ts'
import { writeRecipients } from './recipients.ts'
import { type SlowCommands, together, watchSlowCommands } from './slow-commands.ts'

/** One round of one side. */
export interface Imported extends Cost {
  perSecond: number
  /** Of Redis, for each row. */
  memoryBytes: number
  /** Of the process that read the file; undefined where the system does not tell. */
  peakMemoryBytes: number | undefined
}

export interface ImportOptions {
  pairs: number
  rows: number
  log: (line: string) => void
}

export interface ImportResult {
  pairs: Pair<Imported>[]
  /** During our rounds. */
  slow: SlowCommands
}

const SEED = 1_042

export async function measureImport(
  house: House,
  { pairs, rows, log }: ImportOptions,
): Promise<ImportResult> {
  const { redis } = house
  const file = join(house.directory, 'import.csv')
  writeRecipients(file, { rows, seed: SEED })
  const slow: SlowCommands[] = []

  /** @param read imports the whole file */
  async function measure(pid: number, read: () => Promise<void>): Promise<Imported> {
    const memoryBefore = await restingMemory(redis)
    const costs = await startMeter(pid, redis)
    const from = performance.now()
    await read()
    const perSecond = rows / ((performance.now() - from) / 1000)
    const cost = await costs(rows)
    const memoryBytes = ((await restingMemory(redis)) - memoryBefore) / rows
    return { ...cost, perSecond, memoryBytes, peakMemoryBytes: peakMemoryOf(pid) }
  }

  // A fresh process each time: the most memory that it ever had is that of its round.
  const sides: Record<Side, () => Promise<Imported>> = {
    async ours() {
      const deployment = await house.deploy('import')
      try {
        const id = await createCampaign(deployment, { account: account.id })
        return await measure(deployment.api.pid, async () => {
          const slowCommands = await watchSlowCommands(redis)
          await upload(deployment, id, file, rows)
          slow.push(await slowCommands())
        })
      } finally {
        await deployment.stop()
      }
    },
    async theirs() {
      const port = await freePort()
      const script = await house.start({
        name: 'import-script',
        entry: 'bench/rivals/import.ts',
        env: { REDIS_URL: house.redisUrl, PORT: String(port), FILE: file, NODE_ENV: 'production' },
        profiled: true,
      })
      try {
        const url = `http://127.0.0.1:${port}`
        await script.ready(url)
        return await measure(script.pid, async () => {
          const response = await fetch(url, { method: 'POST', signal: AbortSignal.timeout(900_000) })
          const answer = await response.text()
          if (!response.ok || JSON.parse(answer).accepted !== rows)
            throw new Error(`of ${rows} rows the script did not add all: ${answer.slice(0, 500)}`)
        })
      } finally {
        await script.stop()
      }
    },
  }

  const measured = await inPairs(
    pairs,
    async (side) => {
      const one = await sides[side]()
      await house.empty()
      return one
    },
    ({ ours, theirs }, number) =>
      log(
        `import ${number}: ${Math.round(ours.perSecond)} and ${Math.round(theirs.perSecond)} rows a second, ` +
          `${Math.round(ours.memoryBytes)} and ${Math.round(theirs.memoryBytes)} bytes a row`,
      ),
  )
  return { pairs: measured, slow: together(slow) }
}
