/**
 * What Gupshup's answers mean. Gupshup has no codes of its own in them: status and words tell them apart.
 * Documented: Gupshup Partner API v3, "Send Message with Reaction", Status Codes.
 */
import type { OutcomeTable } from '../outcomes.ts'

export const outcomes = {
  accepted: { outcome: 'accepted' },
  // "When API key authentication fails": every message of the account would get this.
  '401': { outcome: 'rejected', kind: 'credentials', message: 'Authentication Failed' },
  // "If Callback billing is not enabled for the app": a switch that only the account's owner can turn.
  '400 callback billing': {
    outcome: 'rejected',
    kind: 'account',
    message: 'Callback Billing must be enabled for this API',
  },
  // "If app details are not found": the app id is wrong or gone, for every message.
  '400 app details': { outcome: 'rejected', kind: 'account', message: 'Invalid App Details' },
  // Guess: seen on other routes of the same API.
  '429': { outcome: 'throttled', message: 'Too Many Requests' },
  // Guess: seen on other routes of the same API, in their own shape, so their application says that it failed.
  '500': { outcome: 'unavailable', message: 'Internal Server Error' },
} satisfies OutcomeTable

const byWords: Record<string, keyof typeof outcomes> = {
  'callback billing must be enabled for this api': '400 callback billing',
  'invalid app details': '400 app details',
}

/** The row for an answer of theirs with `status: "error"`; undefined where no document knows it. */
export function rowName(status: number, message: string): keyof typeof outcomes | undefined {
  if (status === 400) return byWords[message.trim().toLowerCase()]
  const name = String(status)
  return name === '401' || name === '429' || name === '500' ? name : undefined
}
