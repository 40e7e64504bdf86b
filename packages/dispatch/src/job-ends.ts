/**
 * A message is settled in the same step of Redis that ends its job and fetches the next one: the one never happens
 * without the other, and a worker waits for one answer instead of two.
 */
import type { Redis } from 'ioredis'
import { type Ahead, gatherScript } from './gathered-scripts.ts'
import { asSettled } from './ledger/calls.ts'
import type { Ledger, MessageId, Settled, Settlement } from './ledger/index.ts'

interface Settling {
  id: MessageId
  settlement: Settlement
  otherwise: () => Promise<Settled>
  resolve: (settled: Settled | Promise<Settled>) => void
}

export class JobEnds {
  readonly #ledger: Ledger
  readonly #waiting = new Map<string, Settling>()

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** Takes part in how BullMQ ends jobs on this connection, once a worker has brought its scripts there. */
  join(lanes: Redis): void {
    const jobIdAt = ({ numberOfKeys }: { numberOfKeys: number }) => numberOfKeys
    const ahead: Ahead<Settling> = {
      lua: this.#ledger.settleScript,
      width: 3,
      run: 'settle_all()',
      take: (args, script) => {
        const job = String(args[jobIdAt(script)])
        const settling = this.#waiting.get(job)
        this.#waiting.delete(job)
        return settling
      },
      arguments: (all) => this.#ledger.settleScriptArguments(all[0]!.id.account, all),
      answer: ({ resolve }, reply) => resolve(asSettled(reply as [string, number])),
      mend: ({ resolve, otherwise }) => {
        const settled = otherwise()
        resolve(settled)
        return settled
      },
    }
    gatherScript(lanes, 'moveToFinished', ahead)
  }

  /**
   * Settles a message together with the end of its job, which has to be ended in this turn of the event loop.
   * @param otherwise settles it where that cannot be; then the job ends after it
   * @returns as {@link Ledger.settle}
   */
  settle(
    job: string,
    id: MessageId,
    settlement: Settlement,
    otherwise: () => Promise<Settled>,
  ): Promise<Settled> {
    return new Promise((resolve) => {
      this.#waiting.set(job, { id, settlement, otherwise, resolve })
      setImmediate(() => {
        if (this.#waiting.delete(job)) resolve(otherwise())
      })
    })
  }
}
