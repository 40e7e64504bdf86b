/** One part after the other, each on an empty Redis. */
import { measureAccept } from './accept.ts'
import { measureDispatch } from './dispatch.ts'
import { measureFinished } from './finished.ts'
import type { House } from './house.ts'
import { measureImport } from './import.ts'
import { measureLimits } from './limits.ts'
import type { Options, Part } from './options.ts'
import { measureReceipts } from './receipts.ts'
import { measureRunning } from './running.ts'
import { measureScale } from './scale.ts'

const MEASURES = {
  dispatch: (house, { pairs, messages, 'warm-up': warmUp }, log) =>
    measureDispatch(house, { pairs, messages, warmUp: Math.ceil((messages * warmUp) / 100), log }),
  accept: (house, { pairs, seconds, 'warm-up': warmUp }, log) =>
    measureAccept(house, { pairs, seconds, warmUpSeconds: Math.ceil((seconds * warmUp) / 100), log }),
  import: (house, { 'import-pairs': pairs, rows }, log) => measureImport(house, { pairs, rows, log }),
  scale: (house, { 'scale-pairs': pairs, rows, 'few-rows': fewRows, 'warm-up': warmUp }, log) =>
    measureScale(house, { pairs, rows, fewRows, warmUp: warmUp > 0, log }),
  running: (house, { rows, 'running-seconds': seconds, pauses }, log) =>
    measureRunning(house, { rows, seconds, pauses, log }),
  memory: (house, { 'sent-rows': rows }, log) => measureFinished(house, { rows, log }),
  receipts: (house, { 'receipts-seconds': seconds, 'told-per-second': perSecond }, log) =>
    measureReceipts(house, { seconds, perSecond, log }),
  limits: (house, options, log) =>
    measureLimits(house, {
      waiting: options.waiting,
      seconds: options['limit-seconds'],
      settlingSeconds: options['settling-seconds'],
      pairs: options['limit-pairs'],
      messages: options.messages,
      log,
    }),
} satisfies Record<Part, (house: House, options: Options, log: (line: string) => void) => Promise<unknown>>

/** What was measured; absent parts were not asked for. */
export type Results = { [P in Part]?: Awaited<ReturnType<(typeof MEASURES)[P]>> }

export async function measureAll(
  house: House,
  options: Options,
  log: (line: string) => void,
): Promise<Results> {
  const results: Partial<Record<Part, unknown>> = {}
  for (const part of options.parts) {
    results[part] = await MEASURES[part](house, options, log)
    await house.empty()
  }
  return results as Results
}
