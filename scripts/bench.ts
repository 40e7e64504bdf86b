/**
 * `npm run bench`: measures what this does against the simplest thing that could do the same, and prints tables.
 * `-- --write` puts them into the README, `-- --quick` takes about two minutes, `-- --help` tells the rest.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { type House, openHouse } from '../bench/house.ts'
import { readOptions, usage } from '../bench/options.ts'
import { report } from '../bench/report.ts'
import { measureAll } from '../bench/run.ts'
import { betweenMarkers } from '../bench/table.ts'
import { cacheDir, checkoutDir } from './checkout.ts'

const log = (line: string) => console.error(line)

let house: House | undefined
let interrupted = false
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, async () => {
    if (interrupted) process.exit(128 + constants.signals[signal])
    interrupted = true
    await house?.close().catch(() => undefined)
    process.exit(128 + constants.signals[signal])
  })
}

async function main(): Promise<void> {
  const given = process.argv.slice(2)
  const options = readOptions(given)
  const { write, profile, help } = options
  if (help) return console.log(usage)
  const readme = join(checkoutDir, 'README.md')
  // Said now rather than after all the work.
  if (write) betweenMarkers(readFileSync(readme, 'utf8'), '')
  mkdirSync(cacheDir, { recursive: true })
  house = await openHouse({ log, profileDirectory: profile ? join(cacheDir, 'bench-profiles') : undefined })
  try {
    log(`${options.parts.join(', ')} with ${house.redisVersion} from ${house.how}`)
    const results = await measureAll(house, options, log)
    const again = given.filter((argument) => argument !== '--write')
    const command = ['npm run bench', ...(again.length ? ['--', ...again] : [])].join(' ')
    const text = report(results, options, command, house)
    console.log(`\n${text}`)
    if (!write) return
    writeFileSync(readme, betweenMarkers(readFileSync(readme, 'utf8'), text))
  } finally {
    await house.close()
  }
}

try {
  await main()
} catch (error) {
  // What fails because everything was just told to end is no news.
  if (!interrupted) {
    log(`\n${(error as Error).message}`)
    // What had been started by then ends with this process.
    process.exit(1)
  }
}
