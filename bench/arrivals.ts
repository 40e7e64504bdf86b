/** What arrived at the simulator, by its clock. */
import { setTimeout as sleep } from 'node:timers/promises'

export interface Arrival {
  seq: number
  /** Milliseconds since 1970. */
  atMs: number
  accepted: boolean
  answer: { status: number }
  recipient: string | null
  /** What the simulator answered with. */
  requestId: string | null
  /** Our message id. */
  reference: string | null
}

/** Longer than this nothing came: something is broken. */
const SILENCE_MS = 60_000

/**
 * Forgets what came so far.
 * @returns waits until `count` messages have come, each accepted and to a recipient of its own, and gives their rate,
 * messages per second from the first to the last
 */
export async function expectArrivals(simulatorUrl: string, count: number, mustRun: () => void) {
  const requests = `${simulatorUrl}/simulator/requests`
  const page = async (query: string): Promise<Arrival[]> => {
    const response = await fetch(`${requests}?detail=false&${query}`, {
      signal: AbortSignal.timeout(SILENCE_MS),
    })
    if (!response.ok) throw new Error(`simulator: ${response.status} ${await response.text()}`)
    return ((await response.json()) as { items: Arrival[] }).items
  }
  await forgetArrivals(simulatorUrl)

  return async (): Promise<number> => {
    let first: Arrival | undefined
    const deadline = performance.now() + SILENCE_MS + count
    const untilDeadline = async () => {
      mustRun()
      if (performance.now() > deadline) throw new Error(`of ${count} messages not all arrived`)
      await sleep(100)
    }
    while (!first) {
      ;[first] = await page('limit=1')
      if (!first) await untilDeadline()
    }
    // Asks for the last one only, so that asking costs the simulator next to nothing.
    while ((await page(`limit=1&after=${first.seq + count - 2}`)).length === 0) await untilDeadline()

    const all: Arrival[] = []
    for (let after = 0; ; after = all.at(-1)!.seq) {
      const items = await page(`limit=1000&after=${after}`)
      if (items.length === 0) break
      all.push(...items)
    }
    const accepted = new Set(all.filter((each) => each.accepted).map(({ recipient }) => recipient))
    if (all.length !== count || accepted.size !== count)
      throw new Error(
        `of ${count} messages ${all.length} arrived, of which ${accepted.size} were accepted, each once`,
      )
    return (count - 1) / ((all.at(-1)!.atMs - first.atMs) / 1000)
  }
}

export async function forgetArrivals(simulatorUrl: string): Promise<void> {
  const response = await fetch(`${simulatorUrl}/simulator/requests`, { method: 'DELETE' })
  await response.body?.cancel()
}

/**
 * @param account only those of this sender
 * @returns all that came behind the arrival with this number, in order
 */
export async function readArrivals(simulatorUrl: string, after = 0, account?: string): Promise<Arrival[]> {
  const of = account === undefined ? '' : `&account=${account}`
  const response = await fetch(
    `${simulatorUrl}/simulator/requests?detail=false&format=ndjson&after=${after}${of}`,
    { signal: AbortSignal.timeout(SILENCE_MS) },
  )
  const text = await response.text()
  if (!response.ok) throw new Error(`simulator: ${response.status} ${text.slice(0, 500)}`)
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Arrival)
}

/** @throws when fewer messages than `least` were accepted, or one of them twice */
export async function mustBeDistinct(simulatorUrl: string, least: number): Promise<void> {
  const response = await fetch(`${simulatorUrl}/simulator/summary`, {
    signal: AbortSignal.timeout(SILENCE_MS),
  })
  const { arrived, accepted, duplicates } = (await response.json()) as {
    arrived: number
    accepted: number
    duplicates: { sameReference: { messages: number } }
  }
  const twice = duplicates.sameReference.messages
  if (accepted < least || accepted !== arrived || twice > 0)
    throw new Error(`${arrived} messages arrived, ${accepted} were accepted, ${twice} of them more than once`)
}
