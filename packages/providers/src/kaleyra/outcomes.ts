/**
 * What Kaleyra's answers mean. Codes and words: Kaleyra, "Send Reaction Messages", Sample Failure Response.
 * `WA-401` stands for two failures, told apart by what the answer's `error` object names.
 */
import type { OutcomeTable } from '../outcomes.ts'

export const outcomes = {
  // Printed with 202 Accepted; other pages of theirs say WA200. What counts is `data.message_id` in a 2xx.
  accepted: { outcome: 'accepted' },
  // SID or API key are wrong: every message of the account would get this.
  RBC001: { outcome: 'rejected', kind: 'credentials', message: 'Incorrect SID or API key.' },
  // The sender in the path is not this account's: as good as a wrong credential.
  WA401: {
    outcome: 'rejected',
    kind: 'credentials',
    message: 'Phone number is not present or does not belong to the account.',
  },
  // The contract does not include this API; only Kaleyra can change that.
  'WA-401 account': {
    outcome: 'rejected',
    kind: 'account',
    message: 'API is not available for given customer. Please contact support for more info',
  },
  // The sender lives on another version of the API: the account is set up for another endpoint.
  'WA-401 phone_number': {
    outcome: 'rejected',
    kind: 'account',
    message: "The phone number you're using is associated with different Version of our WA API.",
  },
  // This payload is wrong and stays wrong.
  WA400: { outcome: 'rejected', kind: 'content', message: 'Refer to correct payload format' },
  // Nothing goes out until somebody tops up.
  E110: { outcome: 'rejected', kind: 'balance', message: 'Low balance' },
  // The daily limit of the account (Kaleyra's error list, not on the page above): nothing until the quota resets.
  WAV2101: { outcome: 'rejected', kind: 'account', message: 'The daily limit of the account is reached' },
  // "Please try again later": they say themselves that it was not taken, and advise 5, 10 and 15 minutes.
  WA500: { outcome: 'unavailable', message: 'Please try again later' },
} satisfies OutcomeTable

/**
 * The row for a code.
 * @param names the keys of the answer's `error` object.
 */
export function rowName(code: string, names: readonly string[]): keyof typeof outcomes | undefined {
  // Which of the two it is decides only the words: both stop the lane.
  if (code === 'WA-401') return names.includes('phone_number') ? 'WA-401 phone_number' : 'WA-401 account'
  if (code === 'accepted') return undefined
  return Object.hasOwn(outcomes, code) ? (code as keyof typeof outcomes) : undefined
}
