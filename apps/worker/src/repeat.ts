/** What a worker does again and again until it is asked to end. */
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * @param round one time of it, begun only when the one before has ended @returns after how many ms the next one begins
 * @param onFault is told what a round threw @returns as above
 * @returns when the last round has ended
 */
export async function repeat(
  signal: AbortSignal,
  round: () => Promise<number>,
  onFault: (reason: string) => number,
): Promise<void> {
  while (!signal.aborted) {
    const pauseMs = await round().catch((error: Error) => onFault(error.message))
    if (pauseMs > 0) await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
  }
}
