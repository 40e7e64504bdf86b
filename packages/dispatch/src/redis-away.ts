/** Tells a Redis that is away, or cannot take anything at the moment, from a fault of ours. */

/** Starts of Redis' own error replies that are about its condition, not about the command. */
const CONDITIONS = [
  'LOADING', // it reads its append-only file
  'OOM', // noeviction, and the memory is full
  'MISCONF', // it cannot write to its disk
  'READONLY', // a replica after a fail-over
  'MASTERDOWN',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'NOREPLICAS',
  'BUSY',
  'NOAUTH',
  'WRONGPASS',
  'NOPERM',
]

/** ioredis' and BullMQ's errors for a connection that is not there; they have no codes. */
const TEXTS = [
  'Command timed out',
  'Connection is closed',
  "Stream isn't writeable",
  'Connection is in subscriber mode',
  'Socket closed unexpectedly',
]

const SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])

export function isRedisAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error.name === 'MaxRetriesPerRequestError' || error.name === 'AbortError') return true
  if (SYSTEM_CODES.has((error as NodeJS.ErrnoException).code ?? '')) return true
  if (TEXTS.some((text) => error.message.startsWith(text))) return true
  // A script passes a condition on in its own words: "ERR … script: …, on @user_script:1: OOM command not allowed".
  if (error.name !== 'ReplyError') return false
  return CONDITIONS.some((condition) => new RegExp(`(?:^|[\\s-])${condition}\\b`).test(error.message))
}
