/**
 * A message is settled in the same step of Redis that ends its job and fetches the next one, so that a worker waits for
 * one answer instead of two. It is settled before its job ends; also where BullMQ then does not end it, as its lock is
 * lost.
 */
import type { Redis } from 'ioredis'
import { type Ahead, gatherScript } from './gathered-scripts.ts'
import { asSettled } from './ledger/calls.ts'
import type { Ledger, MessageId, Settled, Settlement } from './ledger/index.ts'

interface Settling {
  id: MessageId
  settlement: Settlement
  /** Settles it by itself. */
  apart: (reason: string) => Promise<Settled>
  resolve: (settled: Settled) => void
}

/**
 * A connection of lanes that carries nothing any more must not keep what was sent from being written down. Shorter than
 * what a claim outlasts its attempt by: nobody may have given it up meanwhile.
 */
const PATIENCE_MS = 1_000

export class JobEnds {
  readonly #ledger: Ledger
  readonly #waiting = new Map<string, Settling>()

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** Takes part in how BullMQ ends jobs on this connection, once a worker has brought its scripts there. */
  join(lanes: Redis): void {
    const ahead: Ahead<Settling> = {
      lua: this.#ledger.settleScript,
      width: 3,
      run: 'settle_all()',
      take: (args, { numberOfKeys }) => {
        const job = String(args[numberOfKeys])
        const settling = this.#waiting.get(job)
        this.#waiting.delete(job)
        return settling
      },
      arguments: (all) => this.#ledger.settleScriptArguments(all[0]!.id.account, all),
      answer: ({ resolve }, reply) => resolve(asSettled(reply as [string, number])),
      mend: ({ apart }, error) => apart(error instanceof Error ? error.message : String(error)),
    }
    gatherScript(lanes, 'moveToFinished', ahead)
  }

  /**
   * Settles a message together with the end of its job, which has to be ended in this turn of the event loop.
   * @param apart settles it where that does not happen, cannot be or takes longer than a second. What Redis refuses
   * to settle together it is asked for by itself, and the job ends after it.
   * @returns as {@link Ledger.settle}
   */
  settle(
    job: string,
    id: MessageId,
    settlement: Settlement,
    apart: (reason: string) => Promise<Settled>,
  ): Promise<Settled> {
    return new Promise((resolve, reject) => {
      const settleApart = (reason: string) => {
        clearTimeout(timer)
        const settled = apart(reason)
        settled.then(resolve, reject)
        return settled
      }
      const settling: Settling = {
        id,
        settlement,
        apart: settleApart,
        resolve: (settled) => {
          clearTimeout(timer)
          resolve(settled)
        },
      }
      const timer = setTimeout(settleApart, PATIENCE_MS, `its job was not ended within ${PATIENCE_MS} ms`)
      this.#waiting.set(job, settling)
      setImmediate(() => {
        if (this.#waiting.get(job) !== settling) return
        this.#waiting.delete(job)
        settleApart('its job was not ended with it')
      })
    })
  }
}
