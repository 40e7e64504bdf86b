/** How fast messages are taken in: `POST /v1/messages` against the bare route in rivals/accept.ts. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { guard } from '../scripts/guard.ts'
import { freePort } from '../scripts/processes.ts'
import { authorization } from './deployment.ts'
import { account, message } from './given.ts'
import { type House, laneOf } from './house.ts'
import { type Cost, startMeter } from './meters.ts'
import { inPairs, type Pair, type Side } from './pairs.ts'

/** One round of one side. */
export interface AcceptedRound extends Cost {
  perSecond: number
}

export interface AcceptOptions {
  pairs: number
  /** How long a round is. */
  seconds: number
  warmUpSeconds: number
  log: (line: string) => void
}

const CONNECTIONS = 50

/** No worker runs meanwhile. */
export async function measureAccept(house: House, options: AcceptOptions): Promise<Pair<AcceptedRound>[]> {
  const deployment = await house.deploy('accept')
  const port = await freePort()
  const bareUrl = `http://127.0.0.1:${port}`
  const bare = await house.start({
    name: 'bare-route',
    entry: 'bench/rivals/accept.ts',
    env: { REDIS_URL: house.redisUrl, PORT: String(port), NODE_ENV: 'production' },
    profiled: true,
  })
  await bare.ready(`${bareUrl}/health`)
  const lane = await laneOf(house)
  const sides = {
    ours: { url: deployment.apiUrl, process: deployment.api },
    theirs: { url: bareUrl, process: bare },
  }

  async function round(side: Side, seconds: number): Promise<AcceptedRound> {
    const { url, process } = sides[side]
    const costs = await startMeter(process.pid, house.redis)
    const before = side === 'ours' ? await lane.count() : 0
    const { accepted, lasted } = await load(`${url}/v1/messages`, authorization, seconds)
    // A message is accepted before its job is on the lane: that belongs to the round.
    const from = performance.now()
    while (side === 'ours' && (await lane.count()) < before + accepted) await sleep(5)
    const perSecond = accepted / (lasted + (performance.now() - from) / 1000)
    return { perSecond, ...(await costs(accepted)) }
  }
  try {
    for (const side of ['ours', 'theirs'] as const)
      if (options.warmUpSeconds > 0) await round(side, options.warmUpSeconds)
    return await inPairs(
      options.pairs,
      (side) => round(side, options.seconds),
      ({ ours, theirs }, number) =>
        options.log(
          `accept ${number}: ${Math.round(ours.perSecond)} and ${Math.round(theirs.perSecond)} a second`,
        ),
    )
  } finally {
    await bare.stop()
    await deployment.stop()
  }
}

/** Load from a process of its own. @returns what it got and how many seconds it lasted @throws when one request was not answered with 2xx */
async function load(
  url: string,
  authorization: string,
  seconds: number,
): Promise<{ accepted: number; lasted: number }> {
  const program = createRequire(import.meta.url).resolve('autocannon')
  const body = JSON.stringify({ account: account.id, to: '919876543210', message })
  const headers = ['content-type: application/json', `authorization: ${authorization}`]
  const child = spawn(
    process.execPath,
    [
      program,
      ...['--json', '--no-progress', '--method', 'POST', '--body', body],
      ...headers.flatMap((header) => ['--headers', header]),
      ...['--connections', String(CONNECTIONS), '--duration', String(seconds), url],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'], detached: process.platform !== 'win32' },
  )
  await once(child, 'spawn')
  child.once('exit', guard({ pid: child.pid! }))
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  if (code !== 0) throw new Error(`autocannon ended with ${code}: ${errors.slice(-1_000)}`)
  const result = JSON.parse(output) as Record<'2xx' | 'non2xx' | 'errors' | 'timeouts' | 'duration', number>
  if (result.non2xx || result.errors || result.timeouts || !result['2xx']) {
    const { non2xx, errors, timeouts } = result
    throw new Error(
      `${url}: ${result['2xx']} accepted, ${non2xx} refused, ${errors} errors, ${timeouts} time-outs`,
    )
  }
  return { accepted: result['2xx'], lasted: result.duration }
}
