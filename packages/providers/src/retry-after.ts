/** `Retry-After` (RFC 9110, section 10.2.3). */

/** An HTTP date names its day first; everything else that Date.parse would guess at is no date. */
const httpDate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? .*\d{2}:\d{2}:\d{2}/

/**
 * @param value seconds or an HTTP date; anything else is ignored, as the RFC asks.
 * @param now milliseconds since 1970.
 * @returns milliseconds from now, never negative; undefined where there is nothing to obey.
 */
export function retryAfterMs(value: string | string[] | undefined, now = Date.now()): number | undefined {
  const text = (Array.isArray(value) ? value[0] : value)?.trim()
  if (!text) return undefined
  if (/^-?\d+(?:\.\d+)?$/.test(text)) return atLeastNow(Number(text) * 1000)
  if (!httpDate.test(text)) return undefined
  // The old asctime form carries no zone and means UTC.
  const at = Date.parse(text.includes(',') ? text : `${text} GMT`)
  return Number.isNaN(at) ? undefined : atLeastNow(at - now)
}

function atLeastNow(waitMs: number): number {
  return Math.min(Math.max(Math.round(waitMs), 0), Number.MAX_SAFE_INTEGER)
}
