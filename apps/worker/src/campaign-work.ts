/**
 * What a change of a campaign's state leaves to be done for each of its messages or chunks. It was effective before: no
 * claim is given to a message of a paused or cancelled campaign. Everything here may be broken off and begun again.
 */
import {
  addToLane,
  type CampaignRecord,
  jobIdOf,
  LANE_WORK,
  type Lane,
  type LaneEntry,
  type MessageId,
  parseMessageId,
} from '@wa-dispatch/dispatch'
import type { FeederOptions } from './feeder.ts'

type Dependencies = Pick<FeederOptions, 'campaigns' | 'ledger' | 'redis'>

/** Messages at a time. */
const PAGE = 200

/** Brings the lane in line with the campaign's state: jobs off, jobs on, or the messages that wait ended. */
export async function doLaneWork(
  record: CampaignRecord,
  lane: Lane,
  dependencies: Dependencies,
  isOver: () => boolean,
): Promise<void> {
  const { campaigns } = dependencies
  const { laneWork } = record
  if (!laneWork) return
  const work = workOf[laneWork.kind]
  for await (const ids of waitingOf(record, dependencies)) {
    if (isOver()) return
    await work?.(record, ids, lane, dependencies)
  }
  await campaigns.laneWorkDone(record.id, laneWork.run)
}

type Work = (
  record: CampaignRecord,
  ids: MessageId[],
  lane: Lane,
  dependencies: Dependencies,
) => Promise<void>

const workOf: Record<number, Work> = {
  /** So that other campaigns do not wait behind jobs that may not send. */
  async [LANE_WORK.jobsOff](_record, ids, lane, { ledger }) {
    const records = await ledger.readEach(ids)
    await removeJobs(
      lane,
      ids.flatMap((id, index) => (records[index] ? jobIdOf(id, records[index].generation) : [])),
    )
  },

  /** A new generation for each: whatever job of it is still there is superseded. */
  async [LANE_WORK.jobsOn]({ definition }, ids, lane, { ledger }) {
    const now = await ledger.now()
    const records = await ledger.readEach(ids)
    const waiting = ids.flatMap((id, index) => (records[index] ? { id, record: records[index] } : []))
    const next = await ledger.requeueEach(
      definition.account,
      waiting.map(({ id, record }) => ({ id, generation: record.generation })),
    )
    const entries = waiting.flatMap(({ id, record: { to, reference } }, index): LaneEntry | [] => {
      const job = next[index]
      if (!job) return []
      const { generation, due } = job
      const { priority, message } = definition
      const type = String(message.type)
      return { id, generation, to, type, reference, priority, ofCampaign: true, delayMs: due - now }
    })
    await addToLane(lane, entries)
  },

  async [LANE_WORK.endWaiting]({ definition }, ids, lane, { ledger }) {
    const generations = await ledger.cancelWaiting(definition.account, ids)
    await removeJobs(
      lane,
      ids.flatMap((id, index) => {
        const generation = generations[index]
        return generation === undefined ? [] : jobIdOf(id, generation)
      }),
    )
  },
}

/** A job that a worker has taken stays; it finds out at its claim. */
const removeJobs = (lane: Lane, jobIds: string[]) =>
  Promise.all(jobIds.map((jobId) => lane.remove(jobId).catch(() => 0)))

/** The campaign's messages that wait, some at a time; what is there all the while is given at least once. */
async function* waitingOf(
  { id }: CampaignRecord,
  { campaigns, redis }: Dependencies,
): AsyncGenerator<MessageId[]> {
  let cursor = '0'
  do {
    const [next, found] = await redis.zscan(campaigns.waitingKey(id), cursor, 'COUNT', PAGE)
    cursor = next
    const texts = found.filter((_, index) => index % 2 === 0)
    const ids = texts.flatMap((text) => parseMessageId(`msg_${text}`) ?? [])
    // Neighbours lie in the same bucket.
    if (ids.length > 0) yield ids.sort((a, b) => a.sequence - b.sequence)
  } while (cursor !== '0')
}

/** A finished campaign's rows and records end with retention; until then they are there for report and retry. */
export async function retireCampaign(
  { id, chunks }: CampaignRecord,
  { campaigns }: Dependencies,
  isOver: () => boolean,
): Promise<void> {
  for (let number = 0; number < chunks; number++) {
    if (number % 50 === 0 && (isOver() || !(await campaigns.read(id))?.finishedAt)) return
    const chunk = await campaigns.chunk(id, number)
    if (chunk) await campaigns.retainChunk(id, chunk, true)
  }
  await campaigns.dropRecipients(id)
  await campaigns.retire(id)
}
