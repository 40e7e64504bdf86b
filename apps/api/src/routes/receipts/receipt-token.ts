/** Who may bring receipts of an account: whoever knows its `receiptToken`. */
import { hash, timingSafeEqual } from 'node:crypto'
import type { Account } from '@wa-dispatch/dispatch'
import { isProviderName, providers } from '@wa-dispatch/providers'
import { Problem } from '../../problems.ts'

const digestOf = (text: string) => hash('sha256', text, 'buffer')

/** What an account takes receipts with; the token itself is not kept. */
type Gate = { digest: Buffer } | { closed: Problem }

const closed = (problem: 'not-found' | 'forbidden', detail: string): Gate => ({
  closed: new Problem(problem, detail),
})

function gateOf({ provider, receiptToken }: Account): Gate {
  if (!isProviderName(provider) || !providers[provider].readReceipts)
    return closed('not-found', 'The provider of this account sends no receipts.')
  if (receiptToken === undefined)
    return closed('forbidden', 'This account takes no receipts: it has no receiptToken.')
  return { digest: digestOf(receiptToken) }
}

/**
 * @param accounts by id
 * @returns refuses a token that is not the account's; hashes are compared, so that time tells nothing of the token
 */
export function receiptGate(
  accounts: ReadonlyMap<string, Account>,
): (account: string, presented: unknown) => Problem | undefined {
  const gates = new Map([...accounts].map(([id, account]) => [id, gateOf(account)]))
  return (account, presented) => {
    const gate = gates.get(account)
    if (!gate) return new Problem('not-found', 'There is no account with this id.')
    if ('closed' in gate) return gate.closed
    if (typeof presented === 'string' && timingSafeEqual(digestOf(presented), gate.digest)) return undefined
    return new Problem(
      'wrong-receipt-token',
      'Send the receiptToken of the account as ?token= or x-receipt-token.',
    )
  }
}
