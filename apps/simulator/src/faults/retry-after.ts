/** `Retry-After` in both of its forms (RFC 9110, section 10.2.3). */
import { z } from 'zod'

/** A bare number is seconds; `as: "date"` sends the moment that lies so many seconds ahead. */
export const retryAfterSchema = z.union(
  [
    z.number().int().min(0).max(86_400),
    z.strictObject({ seconds: z.number().int().min(0).max(86_400), as: z.enum(['seconds', 'date']) }),
  ],
  { error: 'a number of seconds, or { seconds, as: "seconds" | "date" }' },
)

export type RetryAfter = z.infer<typeof retryAfterSchema>

/** The header's value now. A date has whole seconds only, so it is rounded up. */
export function retryAfterValue(retryAfter: RetryAfter): string {
  if (typeof retryAfter === 'number') return String(retryAfter)
  if (retryAfter.as === 'seconds') return String(retryAfter.seconds)
  return new Date(Math.ceil(Date.now() / 1000 + retryAfter.seconds) * 1000).toUTCString()
}
