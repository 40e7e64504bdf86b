/**
 * The rules in force, tried in order. A rule with only `latency` or `slowBody` colours the answer and lets
 * later rules have their say; the first rule with an effect ends the search.
 */

import { systems } from '../systems/index.ts'
import type { ProviderName } from '../systems/system.ts'
import { latencySampler } from './latency.ts'
import { seededRandom } from './random.ts'
import type { Effect, FaultRule } from './schema.ts'
import { type Active, applies, type Subject, selects } from './selection.ts'

/** What the rules decided for one request. */
export interface Verdict {
  latencyMs: number
  slowBody: { chunkBytes: number; intervalMs: number } | undefined
  effect: Effect | undefined
  /** The id of the rule that gave the effect, or else of the first rule that coloured the answer. */
  rule: string | undefined
}

const untouched: Verdict = { latencyMs: 0, slowBody: undefined, effect: undefined, rule: undefined }

interface ActiveRule extends Active {
  rule: FaultRule & { id: string }
  sampleLatencyMs: (() => number) | undefined
}

export class Faults {
  #rules: ActiveRule[] = []
  #created = 0
  #seed: number
  #watchesHeads = false

  constructor(seed: number) {
    this.#seed = seed
  }

  /** Appends a rule and gives it back with its id. Throws {@link DuplicateRuleError} where the id is taken. */
  add(rule: FaultRule): FaultRule & { id: string } {
    const id = rule.id ?? `fault-${this.#created + 1}`
    if (this.#rules.some((active) => active.rule.id === id)) throw new DuplicateRuleError(id)
    this.#created += 1
    // A sequence of its own a rule: what other rules draw does not change it.
    const random = seededRandom(Math.imul(this.#seed + this.#created, 0x9e3779b1))
    this.#rules.push({
      rule: { ...rule, id },
      matched: 0,
      applied: 0,
      random,
      sampleLatencyMs: rule.latency && latencySampler(rule.latency, random),
    })
    this.#afterChange()
    return { ...rule, id }
  }

  remove(id: string): boolean {
    const before = this.#rules.length
    this.#rules = this.#rules.filter((active) => active.rule.id !== id)
    this.#afterChange()
    return this.#rules.length < before
  }

  clear(seed = this.#seed): void {
    this.#rules = []
    this.#created = 0
    this.#seed = seed
    this.#afterChange()
  }

  list(): (FaultRule & { id: string; matched: number; applied: number })[] {
    return this.#rules.map(({ rule, matched, applied }) => ({ ...rule, matched, applied }))
  }

  /** Whether {@link decideBeforeBody} could ever say yes. */
  get watchesHeads(): boolean {
    return this.#watchesHeads
  }

  /**
   * Whether a connection is to be reset before its body is read; gives the rule's id. A rule that looks at
   * something only the body tells is left to {@link decide}, and so is every rule behind it.
   */
  decideBeforeBody(provider: ProviderName, account: string | undefined): string | undefined {
    for (const active of this.#rules) {
      const { rule } = active
      if (rule.provider !== undefined && rule.provider !== provider) continue
      if (rule.account !== undefined && account !== undefined && rule.account !== account) continue
      const needsBody =
        rule.recipient !== undefined ||
        rule.recipientPrefix !== undefined ||
        rule.type !== undefined ||
        (rule.account !== undefined && account === undefined)
      if (needsBody || rule.effect?.kind !== 'reset-before-body') return undefined
      if (applies(active)) return rule.id
    }
    return undefined
  }

  /** What happens to this request. Counts and chances move on, so ask once a request. */
  decide(subject: Subject): Verdict {
    if (this.#rules.length === 0) return untouched
    let verdict = untouched
    for (const active of this.#rules) {
      const { rule } = active
      if (!matches(rule, subject) || !applies(active)) continue
      verdict = {
        latencyMs: verdict.latencyMs + (active.sampleLatencyMs?.() ?? 0),
        slowBody: verdict.slowBody ?? rule.slowBody,
        effect: rule.effect,
        rule: rule.effect === undefined ? (verdict.rule ?? rule.id) : rule.id,
      }
      if (rule.effect !== undefined) break
    }
    return verdict
  }

  #afterChange(): void {
    this.#watchesHeads = this.#rules.some(({ rule }) => rule.effect?.kind === 'reset-before-body')
  }
}

export class DuplicateRuleError extends Error {
  constructor(id: string) {
    super(`there is a rule ${id} already`)
  }
}

function matches(rule: FaultRule, subject: Subject): boolean {
  if (!selects(rule, subject)) return false
  // An error that this provider does not know cannot be its answer.
  return rule.effect?.kind !== 'error' || rule.effect.name in systems[subject.provider].errors
}
