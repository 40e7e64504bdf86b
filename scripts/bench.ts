/**
 * `npm run bench`: measures dispatching and accepting against the simplest thing that could do the same, and prints a
 * table. `-- --write` puts it into the README, `-- --quick` takes about a minute.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measureAccept } from '../bench/accept.ts'
import { measureDispatch } from '../bench/dispatch.ts'
import { type House, openHouse } from '../bench/house.ts'
import { report } from '../bench/report.ts'
import { betweenMarkers } from '../bench/table.ts'
import { cacheDir, checkoutDir } from './checkout.ts'

const usage = `npm run bench -- [options]
  --quick           about a minute, for a first look
  --write           puts the tables into README.md
  --pairs N         rounds of each side (5)
  --messages N      dispatched in a round (10000)
  --seconds N       of accepting in a round (8)
  --warm-up N       percent of a round, before the first (50)
  --profile         leaves a CPU profile of each measured process in .cache/bench-profiles`

const log = (line: string) => console.error(line)

function readOptions() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      pairs: { type: 'string' },
      messages: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string' },
    },
  })
  const { quick, write, profile, help } = values
  const whole = (name: 'pairs' | 'messages' | 'seconds' | 'warm-up', otherwise: number, least: number) => {
    const number = Number(values[name] ?? otherwise)
    if (!Number.isInteger(number) || number < least)
      throw new Error(`--${name} must be a whole number from ${least}`)
    return number
  }
  return {
    write,
    profile,
    help,
    pairs: whole('pairs', quick ? 3 : 5, 1),
    messages: whole('messages', quick ? 3_000 : 10_000, 2),
    seconds: whole('seconds', quick ? 3 : 8, 1),
    warmUp: whole('warm-up', 50, 0) / 100,
  }
}

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
  const { write, profile, help, pairs, messages, seconds, warmUp } = readOptions()
  if (help) return console.log(usage)
  const readme = join(checkoutDir, 'README.md')
  // Said now rather than after all the work.
  if (write) betweenMarkers(readFileSync(readme, 'utf8'), '')
  mkdirSync(cacheDir, { recursive: true })
  house = await openHouse({ log, profileDirectory: profile ? join(cacheDir, 'bench-profiles') : undefined })
  try {
    log(`${pairs} rounds of each side, ours first, with ${house.redisVersion} from ${house.how}`)
    const dispatched = await measureDispatch(house, {
      pairs,
      messages,
      warmUp: Math.ceil(messages * warmUp),
      log,
    })
    const accepted = await measureAccept(house, {
      pairs,
      seconds,
      warmUpSeconds: Math.ceil(seconds * warmUp),
      log,
    })
    const given = process.argv.slice(2).filter((argument) => argument !== '--write')
    const command = ['npm run bench', ...(given.length ? ['--', ...given] : [])].join(' ')
    const text = report({ dispatched, accepted, messages, seconds, command }, house)
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
