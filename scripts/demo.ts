import { relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { checkoutDir } from './checkout.ts'
import { ApiClient, resetSimulator, takenMessages } from './demo/client.ts'
import { type Closers, closeHouse, type House, logDir, startHouse } from './demo/house.ts'
import { Progress } from './demo/progress.ts'
import { readTemplates } from './demo/rows.ts'
import { run } from './demo/run.ts'
import { type LookedUp, writeChecks, writeLookUps, writeSummary } from './demo/summary.ts'
import { checkTally, countTakenUncertain, type Tally } from './demo/tally.ts'
import { paint } from './demo/terminal.ts'
import { NoRedisError } from './redis.ts'

// npm run demo [-- --keep]: the whole way of two hundred messages, on this machine, against simulated providers.

const help = `Usage: npm run demo [-- --keep]

Starts Redis, API, worker and the provider simulator on free ports of this machine, sends
examples/recipients.csv through them while the simulated providers misbehave, and says what
became of every row. Nothing leaves this machine.

  --keep      leave everything running until Ctrl-C
  -h, --help  this text`

/** Exit codes of a process that was ended by a signal, as shells have them. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGPIPE: 141 } as const
type Interruption = keyof typeof exitCodes

const { keep } = readFlags()
const interruption = new AbortController()
const { signal } = interruption
let interruptedBy: Interruption | undefined
const closers: Closers = []

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupt(name))
// Whoever read this has gone (`npm run demo | head`).
process.stdout.on('error', () => interrupt('SIGPIPE'))

const work = demo()
try {
  process.exitCode = await Promise.race([work, interrupted()])
} catch (error) {
  if (!interruptedBy) {
    console.error(`\n${error instanceof NoRedisError ? error.message : describe(error)}`)
    process.exitCode = 1
  }
}
// What was just under way when we were interrupted comes to its end; a download is not waited for.
await settled(work, 1_000)
await closeHouse(closers)
await settled(work, 3_000)
await closeHouse(closers)
process.exit(interruptedBy ? exitCodes[interruptedBy] : process.exitCode)

/** @returns the exit code */
async function demo(): Promise<number> {
  const house = await startHouse(closers, signal, keep)
  return Promise.race([send(house), house.broken])
}

async function send(house: House): Promise<number> {
  const { apiUrl, simulatorUrl, key } = house
  const api = new ApiClient({ url: apiUrl, key, signal })
  await leaveNothingOver(api)
  await resetSimulator(simulatorUrl, signal)

  console.log(`Redis: ${house.redis}. API, worker and simulator run. Sending examples/recipients.csv …\n`)
  const progress = new Progress()
  const templates = await readTemplates(`${checkoutDir}/examples/messages.json`)
  const file = `${checkoutDir}/examples/recipients.csv`
  const tally = await run({ api, file, templates, progress, signal })
  progress.end()

  const taken = await takenMessages(simulatorUrl, signal)
  writeSummary(tally, countTakenUncertain(tally, taken))
  const lookedUp = await lookUp(api, tally)
  writeLookUps(lookedUp)
  const found = { what: 'every request id leads to its message', holds: lookedUp.every(({ right }) => right) }
  const allHold = writeChecks([...checkTally(tally, taken), found])

  console.log(`\n${paint('bold', keep ? 'Running until Ctrl-C' : 'Addresses')}`)
  if (!keep) console.log('  They end with this run. To leave them running: npm run demo -- --keep')
  console.log(`  dashboard  ${apiUrl}/dashboard  (log in with the key)`)
  console.log(`  docs       ${apiUrl}/docs`)
  console.log(`  key        ${key}`)
  console.log(`  simulator  ${simulatorUrl}/simulator/summary`)
  console.log(`  logs       ${relative(process.cwd(), logDir)}`)
  const example = lookedUp[0]?.requestId
  if (keep && example) {
    console.log(`\n  curl -H 'Authorization: Bearer ${key}' '${apiUrl}/v1/messages?request_id=${example}'`)
  }
  if (keep) await sleep(2 ** 31 - 1, undefined, { signal })
  return allHold ? 0 : 1
}

/** Somebody's own Redis may still hold what an interrupted run left on the lanes; it is sent before we count. */
async function leaveNothingOver(api: ApiClient): Promise<void> {
  const deadline = performance.now() + 20_000
  for (let told = false; (await api.backlog()) > 0; told = true) {
    if (!told) console.log('Sending what an earlier run left in this Redis …')
    if (performance.now() > deadline) throw new Error('Another demo seems to be running on this Redis.')
    await sleep(200, undefined, { signal })
  }
}

/** One message of each of three accounts, found again by what the provider calls it. */
async function lookUp(api: ApiClient, { views }: Tally): Promise<LookedUp[]> {
  const withId = [...views.values()].filter(({ request_id }) => request_id !== undefined)
  const accounts = [...new Set(withId.map(({ account }) => account))].sort().slice(0, 3)
  return Promise.all(
    accounts.map(async (account) => {
      // One that needed more than one attempt has more to tell.
      const mine = withId.filter((view) => view.account === account)
      const view = mine.find(({ attempts }) => attempts.length > 1) ?? mine[0]!
      const requestId = view.request_id!
      const found = await api.findByRequestId(requestId)
      return { requestId, found, right: found?.id === view.id }
    }),
  )
}

function readFlags(): { keep: boolean } {
  try {
    const { values } = parseArgs({
      options: { keep: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h' } },
    })
    if (values.help) {
      console.log(help)
      process.exit(0)
    }
    return values
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${help}`)
    process.exit(2)
  }
}

function interrupt(by: Interruption): void {
  // Asked twice: at once. What was started ends with this process.
  if (interruptedBy && by !== 'SIGPIPE') process.exit(exitCodes[by])
  if (interruptedBy) return
  interruptedBy = by
  if (by === 'SIGINT') console.log('\nStopping …')
  interruption.abort()
}

/** Rejects as soon as we are interrupted, whatever is under way. */
function interrupted(): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

async function settled(promise: Promise<unknown>, timeoutMs: number): Promise<void> {
  await Promise.race([promise.catch(() => undefined), sleep(timeoutMs)])
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
