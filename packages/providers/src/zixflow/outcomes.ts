/**
 * What Zixflow's answers mean. There is no list of errors, only `success: false` with a text
 * ("Send WhatsApp Reaction Message", Response): the HTTP status says what kind of failure it is.
 */
import { isSuccess, type OutcomeTable } from '../outcomes.ts'

export const outcomes = {
  accepted: { outcome: 'accepted' },
  // The key or the workspace are not accepted, for every message.
  '401': { outcome: 'rejected', kind: 'credentials', message: 'not authenticated' },
  '403': { outcome: 'rejected', kind: 'credentials', message: 'not allowed with these credentials' },
  '429': { outcome: 'throttled', message: 'too many requests' },
  // Their application itself says that it failed, so nothing was queued.
  '5xx': { outcome: 'unavailable', message: 'the provider could not take it' },
  // Guess: what is left is taken to be about this message; taking it to be about the account would stop the lane.
  otherwise: { outcome: 'rejected', kind: 'content', message: 'refused without an explanation' },
} satisfies OutcomeTable

/** The row for an answer that says no. */
export function rowName(status: number): keyof typeof outcomes {
  if (status >= 500) return '5xx'
  if (status === 401 || status === 403 || status === 429) return `${status}`
  return 'otherwise'
}

/** What an answer that says yes or no in a flag means; a yes counts only with a 2xx. */
export function rowOf(flag: boolean | null | undefined, status: number) {
  if (flag === true) return isSuccess(status) ? outcomes.accepted : undefined
  return flag === false ? outcomes[rowName(status)] : undefined
}
