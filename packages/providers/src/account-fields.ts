/** Fields that accounts are made of. A fault never repeats the value: it may be a secret. */
import { z } from 'zod'

/** A key or an id that travels in a header: visible ASCII, so that nothing can be added to the request with it. */
export const headerText = z
  .string()
  .min(1, 'must not be empty')
  .max(4096)
  .regex(/^[\x21-\x7e]*$/, 'must be printable characters without spaces')

/** An id that is one part of a path. */
export const pathPart = headerText
  .max(256)
  .refine((value) => !/[/\\?#]/.test(value), 'must not hold / \\ ? or #')
  .refine((value) => value !== '.' && value !== '..', 'must not be . or ..')

/** An id that travels in a body. */
export const bodyText = z
  .string()
  .min(1, 'must not be empty')
  .max(256)
  .regex(/^[^\p{C}]*$/u, 'must not hold control characters')
  .refine((value) => value.trim() === value, 'must not begin or end with a space')

/** A phone number as the providers' paths want it. */
export const digits = z.string().regex(/^\d{5,15}$/, 'digits only, country code first, without +')

/** Joins a base URL, which may end in a slash, and the parts of a path. */
export function address(baseUrl: string, ...parts: string[]): string {
  return [baseUrl.replace(/\/+$/, ''), ...parts.map(encodeURIComponent)].join('/')
}
