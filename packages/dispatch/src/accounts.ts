/** Reads `accounts.json`: who may send through which provider, with which limits. */
import { readFileSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { type Provider, providers } from '@wa-dispatch/providers'
import { type ParseError, parse, printParseErrorCode } from 'jsonc-parser'
import { z } from 'zod'
import { ConfigurationError, faultsOf } from './environment.ts'

/** One account: the provider's own fields beside the common ones, defaults filled in. */
export interface Account {
  id: string
  provider: string
  baseUrl: string
  rateLimit: {
    perSecond: number
    /** To one recipient, of which 45 may go at once. */
    pairPerMinute?: number | undefined
    /** A limit of all accounts that name it, such as those on one credential. */
    shared?: { name: string; perSecond: number } | undefined
  }
  /** For one attempt, milliseconds. */
  timeoutMs: number
  receiptToken?: string | undefined
  receiptUrl?: string | undefined
  retry: { unavailable: { delaysMs: number[] } }
  /** What happens to an uncertain message when its window is over. */
  onUncertain: 'hold' | 'fail' | 'resend'
  /** How long an uncertain message waits for news before `onUncertain` decides; milliseconds. */
  uncertainWindowMs: number
  /** When sending is pointless, single messages find out at growing intervals whether it is again; milliseconds. */
  breaker: { probeDelaysMs: number[] }
  /** The provider's own fields: credentials and sender. */
  [field: string]: unknown
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Whether a host name or address can only be this machine. */
export function isLoopback(host: string): boolean {
  const address = host.replace(/^\[|\]$/g, '')
  if (address === 'localhost' || address.endsWith('.localhost')) return true
  const version = isIP(address)
  return version !== 0 && loopback.check(address, version === 4 ? 'ipv4' : 'ipv6')
}

const baseUrl = z
  .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
  .refine(
    (value) =>
      !URL.canParse(value) || new URL(value).protocol === 'https:' || isLoopback(new URL(value).hostname),
    {
      error: 'must be https; http is for loopback hosts only',
    },
  )
  .transform((value) => value.replace(/\/+$/, ''))

const delayMs = z
  .int()
  .min(0)
  .max(7 * 86_400_000)

const common = z.object({
  id: z
    .string()
    .max(64)
    .regex(/^[A-Za-z0-9-]+$/, 'letters, digits and - only'),
  provider: z.enum(Object.keys(providers) as [string, ...string[]]),
  baseUrl: baseUrl.optional(),
  rateLimit: z
    .strictObject({
      perSecond: z.number().positive().max(100_000).optional(),
      pairPerMinute: z.number().positive().max(10_000).optional(),
      shared: z
        .strictObject({
          name: z
            .string()
            .max(64)
            .regex(/^[A-Za-z0-9-]+$/, 'letters, digits and - only'),
          perSecond: z.number().positive().max(100_000),
        })
        .optional(),
    })
    .optional(),
  timeoutMs: z.int().min(50).max(120_000).optional(),
  receiptToken: z.string().min(1).optional(),
  receiptUrl: z.url().optional(),
  retry: z
    .strictObject({ unavailable: z.strictObject({ delaysMs: z.array(delayMs).max(50) }).optional() })
    .optional(),
  onUncertain: z.enum(['hold', 'fail', 'resend']).default('hold'),
  uncertainWindowMs: z
    .int()
    .min(0)
    .max(30 * 86_400_000)
    .default(600_000),
  breaker: z
    .strictObject({ probeDelaysMs: z.array(z.int().min(100).max(3_600_000)).min(1).max(20) })
    .default({ probeDelaysMs: [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000] }),
})
const commonFields = new Set(Object.keys(common.shape))

/**
 * @param file path of the JSON file
 * @param env where `"${NAME}"` is looked up
 * @throws {ConfigurationError} with a line per fault that names the JSON path, never a secret
 */
export function loadAccounts(file: string, env: NodeJS.ProcessEnv): Account[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigurationError([
      `ACCOUNTS_FILE: cannot read ${file} (${(error as NodeJS.ErrnoException).code}); see examples/accounts.json`,
    ])
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new ConfigurationError([`${file}: is not valid JSON${syntaxFault(text)}`])
  }
  return parseAccounts(json, env, file)
}

/** Where it stops being JSON. `JSON.parse` quotes the text instead, and the text may hold a secret. */
function syntaxFault(text: string): string {
  const faults: ParseError[] = []
  parse(text, faults, { disallowComments: true })
  const [first] = faults
  if (!first) return ''
  const lines = text.slice(0, first.offset).split('\n')
  const what = printParseErrorCode(first.error).replace(/\B[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  return `: ${what} at line ${lines.length}, column ${lines.at(-1)!.length + 1}`
}

/** The same for what was read already; `name` stands in front of each fault. */
export function parseAccounts(json: unknown, env: NodeJS.ProcessEnv, name = 'accounts.json'): Account[] {
  const faults: string[] = []
  const told = new Set<string>()
  /** One fault a path: what an unset variable would be is not judged as well. */
  const fault = (path: string, message: string) => {
    if (!told.has(path)) faults.push(`${name}: ${path}: ${message}`)
    told.add(path)
  }
  const judge = (error: z.ZodError, path: string) => {
    for (const issue of error.issues)
      fault(`${path}.${z.core.toDotPath(issue.path)}`.replace(/\.$/, ''), issue.message)
  }
  const outer = z.strictObject({
    accounts: z.array(z.record(z.string(), z.unknown())).min(1, 'at least one account'),
  })
  const list = outer.safeParse(json)
  if (!list.success) throw new ConfigurationError(faultsOf(list.error, `${name}: `))

  const accounts: Account[] = []
  for (const [index, raw] of list.data.accounts.entries()) {
    const path = `accounts[${index}]`
    const found = faults.length
    const filled = fillIn(raw, path, env, fault)
    const shared = common.safeParse(
      Object.fromEntries(Object.entries(filled).filter(([key]) => commonFields.has(key))),
    )
    if (!shared.success) judge(shared.error, path)
    const provider = providers[filled.provider as keyof typeof providers] as Provider<object> | undefined
    if (!provider) continue
    const own = provider.accountSchema.safeParse(
      Object.fromEntries(Object.entries(filled).filter(([key]) => !commonFields.has(key))),
    )
    if (!own.success) judge(own.error, path)
    if (faults.length > found || !shared.success || !own.success) continue
    const base = shared.data.baseUrl ?? provider.defaults.baseUrl
    if (!base) {
      fault(`${path}.baseUrl`, `is required for ${provider.name}`)
      continue
    }
    if (accounts.some((other) => other.id === shared.data.id))
      fault(`${path}.id`, `"${shared.data.id}" is there twice`)
    const limit = shared.data.rateLimit?.shared
    const other = accounts.find(({ rateLimit }) => limit && rateLimit.shared?.name === limit.name)
    if (limit && other && other.rateLimit.shared?.perSecond !== limit.perSecond)
      fault(`${path}.rateLimit.shared.perSecond`, `must be the same as in account "${other.id}"`)
    accounts.push({
      ...own.data,
      ...shared.data,
      baseUrl: base,
      rateLimit: {
        perSecond: shared.data.rateLimit?.perSecond ?? provider.defaults.rateLimit.perSecond,
        pairPerMinute: shared.data.rateLimit?.pairPerMinute ?? provider.defaults.rateLimit.pairPerMinute,
        shared: shared.data.rateLimit?.shared,
      },
      timeoutMs: shared.data.timeoutMs ?? provider.defaults.timeoutMs,
      retry: { unavailable: shared.data.retry?.unavailable ?? provider.defaults.retry.unavailable },
    })
  }
  if (faults.length) throw new ConfigurationError(faults)
  return accounts
}

/** Replaces `"${NAME}"` by the environment's value, at any depth. */
function fillIn(
  raw: Record<string, unknown>,
  path: string,
  env: NodeJS.ProcessEnv,
  fault: (path: string, message: string) => void,
): Record<string, unknown> {
  const visit = (value: unknown, at: string): unknown => {
    if (typeof value === 'string') {
      const variable = /^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(value)?.[1]
      if (!variable) return value
      const found = env[variable]
      if (!found) fault(at, `the environment variable ${variable} is not set`)
      return found || 'unset'
    }
    if (Array.isArray(value)) return value.map((item, index) => visit(item, `${at}[${index}]`))
    if (value && typeof value === 'object') {
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, visit(item, `${at}.${key}`)]),
      )
    }
    return value
  }
  return visit(raw, path) as Record<string, unknown>
}
