/**
 * The accounts the simulator knows. Until one of a provider is registered, that provider takes every
 * well-formed credential; from then on it takes registered ones only.
 */

import type { Target } from '../receipts/post.ts'
import type { CredentialCheck, ProviderName } from '../systems/system.ts'
import { type Gate, type RateLimit, rateGate } from './rate-limit.ts'
import type { AccountSettings, RegisteredAccount } from './schema.ts'

/** One registered account. */
export interface Account {
  provider: ProviderName
  account: string
  credentials: Record<string, string> | undefined
  revoked: boolean
  balance: number | undefined
  rateLimit: RateLimit | undefined
  gate: Gate | undefined
  receipts: ReceiptSettings
}

type ReceiptSettings = Pick<AccountSettings, 'receiptUrl' | 'receiptToken' | 'receiptHeaders'>

export class Accounts {
  readonly #byProvider = new Map<ProviderName, Map<string, Account>>()

  /** Registers an account, or replaces what was set on it. */
  put({ provider, account, ...settings }: RegisteredAccount): Account {
    const entry: Account = {
      provider,
      account,
      credentials: settings.credentials,
      revoked: false,
      balance: settings.balance,
      rateLimit: settings.rateLimit,
      gate: settings.rateLimit && rateGate(settings.rateLimit),
      receipts: receiptSettings(settings),
    }
    const accounts = this.#byProvider.get(provider) ?? new Map<string, Account>()
    this.#byProvider.set(provider, accounts.set(account, entry))
    return entry
  }

  /** Changes only what is given. Undefined where there is no such account. */
  change(provider: ProviderName, account: string, settings: AccountSettings): Account | undefined {
    const entry = this.find(provider, account)
    if (entry === undefined) return undefined
    if (settings.credentials !== undefined) entry.credentials = settings.credentials
    if (settings.balance !== undefined) entry.balance = settings.balance
    if (settings.rateLimit !== undefined) {
      entry.rateLimit = settings.rateLimit
      entry.gate = rateGate(settings.rateLimit)
    }
    Object.assign(entry.receipts, receiptSettings(settings))
    return entry
  }

  /**
   * Where receipts of an account's messages go.
   * @param told the address that came with the message; it goes before the account's
   */
  receiptTarget(provider: ProviderName, account: string, told: string | undefined): Target | undefined {
    const { receiptUrl, receiptToken, receiptHeaders = {} } = this.find(provider, account)?.receipts ?? {}
    if (told !== undefined) return { url: told, headers: receiptHeaders }
    if (receiptUrl === undefined) return undefined
    const url = new URL(receiptUrl)
    if (receiptToken !== undefined && !url.searchParams.has('token')) {
      url.searchParams.set('token', receiptToken)
    }
    return { url: url.href, headers: receiptHeaders }
  }

  find(provider: ProviderName, account: string): Account | undefined {
    return this.#byProvider.get(provider)?.get(account)
  }

  remove(provider: ProviderName, account: string): boolean {
    const accounts = this.#byProvider.get(provider)
    const removed = accounts?.delete(account) ?? false
    if (accounts?.size === 0) this.#byProvider.delete(provider)
    return removed
  }

  clear(): void {
    this.#byProvider.clear()
  }

  list(): Account[] {
    return [...this.#byProvider.values()].flatMap((accounts) => [...accounts.values()])
  }

  /** How credentials compare with what is registered. `account` is undefined where the request names none. */
  check(
    provider: ProviderName,
    account: string | undefined,
    presented: Record<string, string>,
  ): CredentialCheck {
    const accounts = this.#byProvider.get(provider)
    if (accounts === undefined) return 'fine'
    const named = account === undefined ? undefined : accounts.get(account)
    if (named !== undefined && equal(named.credentials, presented)) return named.revoked ? 'wrong' : 'fine'
    const ofAnother = [...accounts.values()].some(
      (entry) => !entry.revoked && equal(entry.credentials, presented),
    )
    if (!ofAnother) return 'wrong'
    // A body that names no account is refused for that, by the check of the body.
    if (account === undefined) return 'fine'
    return named === undefined ? 'unknown-account' : 'other-account'
  }
}

function equal(expected: Account['credentials'], presented: Record<string, string>): boolean {
  for (const name in expected) if (expected[name] !== presented[name]) return false
  return true
}

/** Those that were given. */
function receiptSettings({ receiptUrl, receiptToken, receiptHeaders }: AccountSettings): ReceiptSettings {
  return {
    ...(receiptUrl !== undefined && { receiptUrl }),
    ...(receiptToken !== undefined && { receiptToken }),
    ...(receiptHeaders !== undefined && { receiptHeaders }),
  }
}
