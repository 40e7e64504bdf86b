/**
 * Loaded in front of a process (`node --import`): ends it with SIGKILL at an exact point, as a power cut would.
 * Everybody waits at that point; when the last one expected is there, the process ends.
 *
 * KILL_AT: `accepted` (stored, its job not yet added) · `fed` (rows of a campaign are messages, their jobs not yet
 * added) · `before-claim` · `claimed` (nothing written yet) · `before-settle` (the answer is there, not written down).
 * KILL_WITH: how many messages (for `fed`: scripts) are there at that moment, 1 by default.
 */
import { Ledger } from '@wa-dispatch/dispatch'
import { providers } from '@wa-dispatch/providers'

let waiting = 0
const expected = Number(process.env.KILL_WITH ?? 1)
const strike = (count = 1): Promise<void> => {
  waiting += count
  if (waiting >= expected) process.kill(process.pid, 'SIGKILL')
  return new Promise(() => undefined)
}

type Method = (...args: unknown[]) => Promise<unknown>
function around(
  prototype: object,
  method: string,
  before: () => unknown,
  then: (args: unknown[]) => unknown,
): void {
  const methods = prototype as Record<string, Method>
  const original = methods[method]!
  methods[method] = async function (this: unknown, ...args: unknown[]) {
    await before()
    const result = await original.apply(this, args)
    await then(args)
    return result
  }
}
const nothing = () => undefined

switch (process.env.KILL_AT) {
  case 'accepted':
    around(Ledger.prototype, 'accept', nothing, ([, messages]) => strike((messages as unknown[]).length))
    break
  case 'fed':
    around(Ledger.prototype, 'feed', nothing, () => strike())
    break
  case 'before-claim':
    around(Ledger.prototype, 'claim', strike, nothing)
    break
  case 'claimed':
    around(Ledger.prototype, 'claim', nothing, () => strike())
    break
  case 'before-settle':
    for (const provider of Object.values(providers)) around(provider, 'send', nothing, () => strike())
    break
  default:
    throw new Error(`KILL_AT: there is no point "${process.env.KILL_AT}"`)
}
