/** Who is next, by weight and evenly mixed: of 2 and 1 it makes A B A, A B A, … and never A A A A B B. */
export class Shares {
  /** What each is owed; kept from one division to the next. */
  readonly #owed = new Map<string, number>()

  /**
   * @param weights of everybody who takes part now, all above 0
   * @returns `count` names in the order in which they are served
   */
  divide(weights: ReadonlyMap<string, number>, count: number): string[] {
    for (const name of this.#owed.keys()) if (!weights.has(name)) this.#owed.delete(name)
    const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0)
    const order: string[] = []
    for (let turn = 0; turn < count; turn++) {
      let next = ''
      let most = Number.NEGATIVE_INFINITY
      for (const [name, weight] of weights) {
        const owed = (this.#owed.get(name) ?? 0) + weight
        this.#owed.set(name, owed)
        if (owed > most) {
          most = owed
          next = name
        }
      }
      this.#owed.set(next, most - total)
      order.push(next)
    }
    return order
  }
}
