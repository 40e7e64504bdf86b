/** How a table of a provider's answers is written, and how a row of it becomes an outcome. */
import type { RejectionKind, SendOutcome, Throttled } from './provider.ts'

/** One answer as a provider documents it. */
export type OutcomeRow =
  | { outcome: 'accepted' }
  | { outcome: 'rejected'; kind: RejectionKind; message?: string }
  | { outcome: 'throttled'; scope?: Throttled['scope']; message?: string; retryAfterMs?: number }
  | { outcome: 'unavailable' | 'uncertain'; message?: string; retryAfterMs?: number }

/** A provider's answers by name. Every row needs a fixture: the registry's test asks for it. */
export type OutcomeTable = Record<string, OutcomeRow>

/** What the answer at hand adds to its row. */
export interface RowDetails {
  code: string
  /** In the provider's words; the row's own where it said nothing. */
  message?: string | null | undefined
  retryAfterMs?: number | undefined
  requestId?: string | undefined
  /** HTTP status; decides whether an uncertain answer was a 2xx. */
  status?: number
}

/** Fills a row of a table with what the answer said. */
export function outcomeOf(row: OutcomeRow, details: RowDetails): SendOutcome {
  const { code, requestId } = details
  if (row.outcome === 'accepted') return { outcome: 'accepted', code, ...(requestId && { requestId }) }
  const told = { code, message: details.message?.trim() || row.message || `the provider answered ${code}` }
  if (row.outcome === 'rejected') return { outcome: 'rejected', kind: row.kind, ...told }
  if (row.outcome === 'uncertain') {
    return { outcome: 'uncertain', answered: isSuccess(details.status ?? 0), ...told }
  }
  const wait = details.retryAfterMs ?? row.retryAfterMs
  const more = { ...told, ...(wait !== undefined && { retryAfterMs: wait }) }
  if (row.outcome === 'throttled')
    return { outcome: 'throttled', ...(row.scope && { scope: row.scope }), ...more }
  return { outcome: row.outcome, ...more }
}

/** Whether the provider's server says that it took the request. */
export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300
}
