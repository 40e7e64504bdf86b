/**
 * Recipients to tick off: a set of numbers below 2^53 in one typed array, at about 12 to 24 bytes each, whichever way
 * they are written. (A Set would take more than three times as much, scattered over the heap.)
 */
const FULLEST = 2 / 3

export class RecipientTable {
  /** 0 is free; negative is one that was ticked off and still keeps its place. */
  #places: Float64Array
  #taken = 0

  /** @param expected how many there will be; more may come */
  constructor(expected: number) {
    this.#places = new Float64Array(2 ** Math.ceil(Math.log2(Math.max(16, expected / FULLEST))))
  }

  add(recipient: number): void {
    if (this.#taken >= this.#places.length * FULLEST) this.#grow()
    const place = this.#placeOf(recipient)
    if (this.#places[place] !== 0) return
    this.#places[place] = recipient
    this.#taken++
  }

  /** @returns true once for each that was added */
  tickOff(recipient: number): boolean {
    const place = this.#placeOf(recipient)
    if (this.#places[place] !== recipient) return false
    this.#places[place] = -recipient
    return true
  }

  /** Where it is, or where it would be put. */
  #placeOf(recipient: number): number {
    const places = this.#places
    const last = places.length - 1
    const high = Math.floor(recipient / 2 ** 32)
    // Numbers of one country follow each other: multiplying spreads them, and its upper bits are the mixed ones.
    const mixed = Math.imul(recipient ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1)
    let place = (mixed ^ (mixed >>> 15)) & last
    while (places[place] !== 0 && Math.abs(places[place]!) !== recipient) place = (place + 1) & last
    return place
  }

  #grow(): void {
    const before = this.#places
    this.#places = new Float64Array(before.length * 2)
    for (const recipient of before)
      if (recipient !== 0) this.#places[this.#placeOf(Math.abs(recipient))] = recipient
  }
}
