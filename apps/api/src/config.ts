/** What the API reads from its environment. */
import {
  type Account,
  type AllowList,
  ConfigurationError,
  isLoopback,
  loadAccounts,
  port,
  postBackEnvironment,
  readEnvironment,
  reconcileEnvironment,
  type Signer,
  sharedEnvironment,
  wholeNumber,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'

export const SCOPES = ['send', 'read', 'admin'] as const
/** What a key may do. No scope implies another. */
export type Scope = (typeof SCOPES)[number]

export interface ApiKey {
  name: string
  /** SHA-256 of the key; the key itself is nowhere. */
  hash: Buffer
  scopes: ReadonlySet<Scope>
}

export interface ApiConfig {
  redisUrl: string
  host: string
  port: number
  keys: ApiKey[]
  /** False: whoever reaches the (loopback) port may do everything. */
  authenticates: boolean
  /** Requests per second for each key. */
  requestsPerSecond: number
  retentionDays: number
  logLevel: string
  /** Of post-backs; absent: none are taken. */
  signer: Signer | undefined
  /** What post-backs may reach although it is not public. */
  postBackAllow: AllowList
  reconcileAfterHours: number
  accounts: Account[]
}

const isScope = (text: string): text is Scope => (SCOPES as readonly string[]).includes(text)

/** `name:sha256-hex-of-the-key:scope+scope`, comma-separated. A fault names the entry's place and never its hash. */
const keysSchema = z.string().transform((text, context): ApiKey[] => {
  const keys: ApiKey[] = []
  for (const [index, entry] of text.split(',').entries()) {
    const fault = (message: string) =>
      context.addIssue({ code: 'custom', message: `entry ${index + 1}: ${message}` })
    const parts = entry.trim().split(':')
    const [name = '', hash = '', scopeText = ''] = parts
    if (parts.length !== 3) {
      fault('must be name:sha256-hex-of-the-key:scope+scope')
      continue
    }
    const scopes = scopeText.split('+')
    if (!/^[A-Za-z0-9_.-]{1,64}$/.test(name)) fault('the name must be 1 to 64 letters, digits, - _ or .')
    else if (keys.some((key) => key.name === name)) fault(`the name ${name} is there twice`)
    if (!/^[0-9a-fA-F]{64}$/.test(hash))
      fault('the second part must be the SHA-256 of the key, 64 hexadecimal digits')
    else if (keys.some((key) => key.hash.equals(Buffer.from(hash, 'hex')))) fault('this key is there twice')
    if (!scopes.every(isScope)) fault(`the scopes must be of ${SCOPES.join(', ')}, joined by +`)
    else keys.push({ name, hash: Buffer.from(hash, 'hex'), scopes: new Set(scopes) })
  }
  return keys
})

const environmentSchema = {
  ...sharedEnvironment,
  ...postBackEnvironment,
  ...reconcileEnvironment,
  API_HOST: z.string().min(1).default('127.0.0.1'),
  API_PORT: port(3000),
  API_KEYS: keysSchema.default([]),
  API_RATE_LIMIT: wholeNumber(10_000, 1, 1_000_000),
  AUTH: z.enum(['on', 'off'], 'must be off or on').default('on'),
}

/** @throws {ConfigurationError} with every fault of environment and accounts file, a line each */
export function readConfig(env: NodeJS.ProcessEnv): ApiConfig {
  const faults: string[] = []
  const gather = <Result>(read: () => Result): Result | undefined => {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      faults.push(...error.faults)
      return undefined
    }
  }
  const values = gather(() => readEnvironment(environmentSchema, env))
  const accounts = gather(() => loadAccounts(env.ACCOUNTS_FILE || 'accounts.json', env))
  if (values) faults.push(...accessFaults(values))
  if (faults.length || !values || !accounts) throw new ConfigurationError(faults)
  return {
    redisUrl: values.REDIS_URL,
    host: values.API_HOST,
    port: values.API_PORT,
    keys: values.API_KEYS,
    authenticates: values.AUTH === 'on',
    requestsPerSecond: values.API_RATE_LIMIT,
    retentionDays: values.RETENTION_DAYS,
    logLevel: values.LOG_LEVEL,
    signer: values.POST_BACK_SECRET,
    postBackAllow: values.POST_BACK_ALLOW,
    reconcileAfterHours: values.RECONCILE_AFTER_HOURS,
    accounts,
  }
}

function accessFaults({
  AUTH,
  API_HOST,
  API_KEYS,
}: {
  AUTH: string
  API_HOST: string
  API_KEYS: ApiKey[]
}): string[] {
  if (AUTH === 'off' && !isLoopback(API_HOST))
    return [`AUTH: off is for loopback hosts only, and API_HOST is ${API_HOST}`]
  if (AUTH === 'on' && API_KEYS.length === 0) {
    return [
      'API_KEYS: is not set: name:sha256-hex-of-the-key:scope+scope, comma-separated (or AUTH=off on a loopback host)',
    ]
  }
  return []
}
