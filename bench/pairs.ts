/** Two sides in turn: what disturbs the machine for a while disturbs both. */

/** Which of the two is measured. */
export type Side = 'ours' | 'theirs'

/** One round of each, next to each other in time. */
export interface Pair<Measured> {
  ours: Measured
  theirs: Measured
}

/** @param round measures one side; @param announce called after each pair */
export async function inPairs<Measured>(
  count: number,
  round: (side: Side) => Promise<Measured>,
  announce: (pair: Pair<Measured>, number: number) => void,
): Promise<Pair<Measured>[]> {
  const pairs: Pair<Measured>[] = []
  for (let number = 1; number <= count; number++) {
    // Neither side is always the first.
    const order: Side[] = number % 2 ? ['ours', 'theirs'] : ['theirs', 'ours']
    const measured = {} as Pair<Measured>
    for (const side of order) measured[side] = await round(side)
    pairs.push(measured)
    announce(measured, number)
  }
  return pairs
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2
    ? sorted[Math.floor(middle)]!
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}
