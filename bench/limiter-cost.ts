/** What the limiter costs where nobody has to wait: the same worker, with it and without, in turn. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expectArrivals } from './arrivals.ts'
import { account } from './given.ts'
import { type House, laneOf } from './house.ts'
import { fillLane } from './limited-sides.ts'
import { type Cost, startMeter } from './meters.ts'
import { inPairs, type Pair, type Side } from './pairs.ts'

export interface LimiterCost extends Cost {
  perSecond: number
}

export interface LimiterCostOptions {
  pairs: number
  /** In each round. */
  messages: number
  log: (line: string) => void
}

/** Two deployments, each with one worker: "ours" as it is, "theirs" without the limiter. */
export async function measureLimiterCost(
  house: House,
  options: LimiterCostOptions,
): Promise<Pair<LimiterCost>[]> {
  const { pairs, messages, log } = options
  const open = async (id: string, preload?: string) => {
    const deployment = await house.deploy(id, [{ ...account, id }])
    return { id, deployment, worker: await deployment.startWorker(preload), lane: await laneOf(house, id) }
  }
  const sides = {
    ours: await open('with-limiter'),
    theirs: await open('without-limiter', 'bench/without-limiter.ts'),
  }

  async function round(side: Side, count: number): Promise<LimiterCost> {
    const { id, deployment, worker, lane } = sides[side]
    const act = (action: 'pause' | 'resume') => deployment.call('POST', `/v1/accounts/${id}/${action}`)
    await act('pause')
    await fillLane(house, deployment, id, count)
    const arrived = await expectArrivals(house.simulatorUrl, count, () => worker.mustRun())
    const costs = await startMeter(worker.pid, house.redis)
    await act('resume')
    const perSecond = await arrived()
    while ((await lane.count()) + (await lane.getActiveCount()) > 0) await sleep(20)
    return { ...(await costs(count)), perSecond }
  }

  try {
    for (const side of ['ours', 'theirs'] as const) await round(side, Math.ceil(messages / 2))
    return await inPairs(
      pairs,
      (side) => round(side, messages),
      ({ ours, theirs }, number) =>
        log(
          `limits: ${ours.cpuMs?.toFixed(3)} ms of CPU a message with the limiter, ${theirs.cpuMs?.toFixed(3)} without (${number})`,
        ),
    )
  } finally {
    for (const { deployment } of Object.values(sides)) await deployment.stop()
  }
}
