/** The receipt rules in force: the first that applies to a message says what it hears. Without any, nothing is sent. */

import { DuplicateRuleError } from '../faults/faults.ts'
import { latencySampler } from '../faults/latency.ts'
import { seededRandom } from '../faults/random.ts'
import { type Active, applies, type Subject, selects } from '../faults/selection.ts'
import type { PlannedStatus, ReceiptRule } from './schema.ts'

interface ActiveRule extends Active {
  rule: ReceiptRule & { id: string }
  sampleDelayMs: () => number
  sampleRepeatMs: () => number
  /** By status; undefined where it has none of its own. */
  samplers: ((() => number) | undefined)[]
}

/** One status of one message, and when it happens and is told. */
export interface Planned extends PlannedStatus {
  /** From the acceptance. */
  happensInMs: number
  toldInMs: number
}

export interface Plan {
  rule: ReceiptRule
  told: Planned[]
}

export class ReceiptRules {
  #rules: ActiveRule[] = []
  #created = 0
  #seed: number

  constructor(seed: number) {
    this.#seed = seed
  }

  /** Appends a rule and gives it back with its id. Throws {@link DuplicateRuleError} where the id is taken. */
  add(rule: ReceiptRule): ReceiptRule & { id: string } {
    const id = rule.id ?? `receipts-${this.#created + 1}`
    if (this.#rules.some((active) => active.rule.id === id)) throw new DuplicateRuleError(id)
    this.#created += 1
    const random = seededRandom(Math.imul(this.#seed + this.#created, 0x85ebca6b))
    this.#rules.push({
      rule: { ...rule, id },
      matched: 0,
      applied: 0,
      random,
      sampleDelayMs: latencySampler(rule.delay, random),
      sampleRepeatMs: latencySampler(rule.repeat?.delay ?? { fixedMs: 0 }, random),
      samplers: rule.statuses.map(({ delay }) => delay && latencySampler(delay, random)),
    })
    return { ...rule, id }
  }

  remove(id: string): boolean {
    const before = this.#rules.length
    this.#rules = this.#rules.filter((active) => active.rule.id !== id)
    return this.#rules.length < before
  }

  clear(seed = this.#seed): void {
    this.#rules = []
    this.#created = 0
    this.#seed = seed
  }

  list(): (ReceiptRule & { id: string; matched: number; applied: number })[] {
    return this.#rules.map(({ rule, matched, applied }) => ({ ...rule, matched, applied }))
  }

  /** What an accepted message hears; undefined where no rule is about it. Ask once a message. */
  plan(subject: Subject): Plan | undefined {
    for (const active of this.#rules) {
      if (selects(active.rule, subject) && applies(active)) {
        return { rule: active.rule, told: planned(active) }
      }
    }
    return undefined
  }
}

function planned(active: ActiveRule): Planned[] {
  const { rule, random, samplers, sampleDelayMs, sampleRepeatMs } = active
  const told: Planned[] = []
  let happensInMs = 0
  for (const [index, status] of rule.statuses.entries()) {
    if (status.probability !== undefined && random() >= status.probability) continue
    if (told.length > 0 || !rule.early) happensInMs += (samplers[index] ?? sampleDelayMs)()
    told.push({ ...status, happensInMs, toldInMs: happensInMs })
  }
  reorder(told, rule.order, random)
  const { repeat } = rule
  if (repeat === undefined) return told
  const repeated = told.flatMap((one) => {
    if (repeat.probability < 1 && random() >= repeat.probability) return []
    return Array.from({ length: repeat.times }, () => ({
      ...one,
      toldInMs: one.toldInMs + sampleRepeatMs(),
    }))
  })
  return [...told, ...repeated]
}

/** The times stay as they are; what is told at each of them changes. */
function reorder(told: Planned[], order: ReceiptRule['order'], random: () => number): void {
  if (order === 'kept') return
  const times = told.map(({ toldInMs }) => toldInMs)
  if (order === 'reversed') told.reverse()
  else {
    for (let index = told.length - 1; index > 0; index--) {
      const other = Math.floor(random() * (index + 1))
      const one = told[index]!
      told[index] = told[other]!
      told[other] = one
    }
  }
  for (const [index, one] of told.entries()) one.toldInMs = times[index]!
}
