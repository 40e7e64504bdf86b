/**
 * Keeps the process under 200 MB while a file of a million rows goes through it. Left to itself, V8 sees that each row
 * lives as long as its chunk and trades memory for time: young objects get 100 MB, rows are made in the old space at
 * once, and that may grow to a multiple of what lives in it. Half of the memory for a sixth of the time.
 *
 * To be imported before anything else: loading the rest would have grown it already.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Both halves together; a row is dead long before it is filled. */
const YOUNG_BYTES = 6_000_000
const LOOK_MS = 100

setFlagsFromString('--no-allocation-site-pretenuring')
setFlagsFromString('--heap-growing-percent=20')
// There is no such limit that can still be set: it grows while it may.
setFlagsFromString('--semi-space-growth-factor=1')
setInterval(() => {
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
  const mayGrow = young !== undefined && young.physical_space_size < YOUNG_BYTES
  setFlagsFromString(`--semi-space-growth-factor=${mayGrow ? 2 : 1}`)
}, LOOK_MS).unref()
