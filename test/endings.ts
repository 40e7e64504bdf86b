/** What a test file started is ended with it, in reverse order. */
import { afterAll } from 'vitest'

/** Where something is told how it ends: with its file ({@link endings}), or with its test (`onTestFinished`). */
export type OnEnd = (end: () => Promise<void>) => void

/** To be called once, at the top of a test file: hooks that are added within hooks are never run. */
export function endings(): OnEnd {
  const ends: (() => Promise<void>)[] = []
  afterAll(async () => {
    for (const end of ends.reverse()) await end()
  }, 120_000)
  return (end) => ends.push(end)
}
