/**
 * Loaded in front of a process (`node --import`): ends it with SIGKILL at an exact point, as a power cut would.
 *
 * KILL_AT: `accepted` (stored, its job not yet added) · `before-claim` · `claimed` (nothing written yet) ·
 * `before-settle` (the answer is there, not written down). KILL_AFTER: at which call, 1 by default.
 */
import { Ledger } from '@wa-dispatch/dispatch'
import { Queue } from 'bullmq'

let calls = 0
const after = Number(process.env.KILL_AFTER ?? 1)
const strike = () => {
  if (++calls >= after) process.kill(process.pid, 'SIGKILL')
}

type Method = (...args: unknown[]) => Promise<unknown>
function around(prototype: object, method: string, before: () => void, then: () => void): void {
  const methods = prototype as Record<string, Method>
  const original = methods[method]!
  methods[method] = async function (this: unknown, ...args: unknown[]) {
    before()
    const result = await original.apply(this, args)
    then()
    return result
  }
}
const nothing = () => undefined

switch (process.env.KILL_AT) {
  case 'accepted':
    around(Queue.prototype, 'addBulk', strike, nothing)
    break
  case 'before-claim':
    around(Ledger.prototype, 'claim', strike, nothing)
    break
  case 'claimed':
    around(Ledger.prototype, 'claim', nothing, strike)
    break
  case 'before-settle':
    around(Ledger.prototype, 'settle', strike, nothing)
    break
  default:
    throw new Error(`KILL_AT: there is no point "${process.env.KILL_AT}"`)
}
