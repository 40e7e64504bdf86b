import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { checkoutDir } from './checkout.ts'
import { type CampaignOptions, runCampaign } from './demo/campaign.ts'
import { checkCampaign } from './demo/campaign-checks.ts'
import { cancelCampaigns } from './demo/campaign-client.ts'
import { readExample } from './demo/campaign-files.ts'
import { ApiClient } from './demo/client.ts'
import { type Closers, closeHouse, type House, logDir, startHouse } from './demo/house.ts'
import { Progress } from './demo/progress.ts'
import {
  checkReceipts,
  hearReceipts,
  matchReceipts,
  registerAddresses,
  settledByReceipts,
} from './demo/receipts.ts'
import { type Receiver, startReceiver } from './demo/receiver.ts'
import { readTemplates } from './demo/rows.ts'
import { run } from './demo/run.ts'
import { resetSimulator, takenMessages } from './demo/simulator.ts'
import {
  heading,
  type LookedUp,
  writeChecks,
  writeLookUps,
  writeReceipts,
  writeSummary,
} from './demo/summary.ts'
import { checkTally, countTakenUncertain, type Tally } from './demo/tally.ts'
import { amount, paint } from './demo/terminal.ts'
import { NoRedisError } from './redis.ts'

// npm run demo [-- --keep]: the whole way of two hundred messages and of a campaign, on this machine, against
// simulated providers.

const help = `Usage: npm run demo [-- --keep]

Starts Redis, API, worker and the provider simulator on free ports of this machine, sends
examples/recipients.csv through them while the simulated providers misbehave, and says what
became of every row. Then runs a campaign over examples/campaign.csv: dry run, start, pause,
resume, retry, report. Nothing leaves this machine.

  --keep      leave everything running until Ctrl-C
  -h, --help  this text`

const examplesDir = `${checkoutDir}/examples`

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
  const receiver = await startReceiver()
  closers.push(() => receiver.close())
  const house = await startHouse(closers, signal, { stays: keep, postBackSecret: receiver.secret })
  return Promise.race([send(house, receiver), house.broken])
}

async function send(house: House, receiver: Receiver): Promise<number> {
  const { apiUrl, simulatorUrl, key } = house
  const api = new ApiClient({ url: apiUrl, key, signal })
  const accountsFile = `${examplesDir}/demo-accounts.json`
  const example = await readExample(`${examplesDir}/campaign.json`, accountsFile)
  await leaveNothingOver(api, example.request.account)
  await resetSimulator(simulatorUrl, signal)
  await registerAddresses(accountsFile, house, signal)

  console.log(`Redis: ${house.redis}. API, worker and simulator run. Sending examples/recipients.csv …\n`)
  const progress = new Progress()
  const templates = await readTemplates(`${examplesDir}/messages.json`)
  const file = `${examplesDir}/recipients.csv`
  const tally = await run({ api, file, templates, postBackUrl: receiver.url, progress, signal })
  progress.end()
  const told = await hearReceipts(api, simulatorUrl, tally, signal)

  const taken = await takenMessages(simulatorUrl, signal)
  writeSummary(tally, countTakenUncertain(tally, taken))
  const views = [...tally.views.values()]
  writeReceipts(views, {
    settled: settledByReceipts(views),
    unmatched: matchReceipts(views, told).unmatched.size,
    heard: receiver.heard,
  })
  const lookedUp = await lookUp(api, tally)
  writeLookUps(lookedUp)
  const found = { what: 'every request id leads to its message', holds: lookedUp.every(({ right }) => right) }
  const heard = checkReceipts(tally, told, await api.unmatchedRequestIds(), receiver)
  const messagesHold = writeChecks([...checkTally(tally, taken), ...heard, found])
  const campaignHolds = await sendCampaign({ api, simulatorUrl, example, signal })

  console.log(`\n${paint('bold', keep ? 'Running until Ctrl-C' : 'Addresses')}`)
  if (!keep) console.log('  They end with this run. To leave them running: npm run demo -- --keep')
  console.log(`  dashboard  ${apiUrl}/dashboard  (log in with the key)`)
  console.log(`  docs       ${apiUrl}/docs`)
  console.log(`  key        ${key}`)
  if (keep)
    console.log(`  secret     ${receiver.secret}  (POST_BACK_SECRET; receivers on 127.0.0.1 are told)`)
  console.log(`  simulator  ${simulatorUrl}/simulator/summary`)
  console.log(`  logs       ${relative(process.cwd(), logDir)}`)
  const requestId = lookedUp[0]?.requestId
  if (keep && requestId) {
    console.log(`\n  curl -H 'Authorization: Bearer ${key}' '${apiUrl}/v1/messages?request_id=${requestId}'`)
  }
  if (keep) await sleep(2 ** 31 - 1, undefined, { signal })
  return messagesHold && campaignHolds ? 0 : 1
}

/** @returns whether every check holds */
async function sendCampaign(options: Omit<CampaignOptions, 'file' | 'reportFile'>): Promise<boolean> {
  const { name, account } = options.example.request
  console.log(heading(`Campaign “${name}” on ${account}, examples/campaign.csv`))
  const reportFile = join(logDir, 'campaign-report.csv')
  const tally = await runCampaign({ ...options, file: `${examplesDir}/campaign.csv`, reportFile })
  console.log(heading('Report'))
  console.log(`  ${relative(process.cwd(), reportFile)}  (${amount(tally.report.length)} rows)`)
  return writeChecks(checkCampaign(tally))
}

/**
 * Somebody's own Redis may still hold what an interrupted run left. Its campaign is cancelled; what is on the lanes
 * is sent before we count.
 */
async function leaveNothingOver(api: ApiClient, account: string): Promise<void> {
  await cancelCampaigns(api, account)
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
