/** What both processes read from the environment, and how a bad value is told. */
import { z } from 'zod'

/** Faults in what an operator wrote, a line each, without secrets. */
export class ConfigurationError extends Error {
  readonly faults: string[]
  constructor(faults: string[]) {
    super(faults.join('\n'))
    this.name = 'ConfigurationError'
    this.faults = faults
  }
}

/** One line per fault of a zod error: the path (or variable) and what to do. */
export function faultsOf(error: z.ZodError, prefix = ''): string[] {
  return error.issues.map(
    (issue) => `${prefix}${z.core.toDotPath(issue.path) || '(the whole)'}: ${issue.message}`,
  )
}

export const port = (fallback: number) =>
  z
    .string()
    .regex(/^\d{1,5}$/, 'must be a port number, 0 for a free one')
    .transform(Number)
    .refine((value) => value <= 65_535, 'must be at most 65535')
    .default(fallback)

/** A number within bounds, written in digits. */
export const wholeNumber = (fallback: number, minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, `must be from ${minimum} to ${maximum}`)
    .default(fallback)

/** The variables that API and worker share. */
export const sharedEnvironment = {
  REDIS_URL: z
    .url({ protocol: /^rediss?$/, error: 'must be a redis:// or rediss:// URL' })
    .default('redis://127.0.0.1:6379'),
  ACCOUNTS_FILE: z.string().min(1).default('accounts.json'),
  RETENTION_DAYS: z
    .string()
    .regex(/^\d+(\.\d+)?$/, 'must be a number of days')
    .transform(Number)
    .refine((value) => value > 0 && value <= 3650, 'must be above 0 and at most 3650')
    .default(7),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
}

/**
 * @returns the variables named by the schema; an empty one counts as unset
 * @throws {ConfigurationError}
 */
export function readEnvironment<Shape extends z.ZodRawShape>(
  shape: Shape,
  env: NodeJS.ProcessEnv,
): z.infer<z.ZodObject<Shape>> {
  const set = Object.fromEntries(Object.keys(shape).flatMap((name) => (env[name] ? [[name, env[name]]] : [])))
  const result = z.object(shape).safeParse(set)
  if (!result.success) throw new ConfigurationError(faultsOf(result.error))
  return result.data
}

/** Prints each fault on its own line and ends the process with code 1; anything else is thrown on. */
export function exitOnFault(error: unknown): never {
  if (!(error instanceof ConfigurationError)) throw error
  for (const fault of error.faults) process.stderr.write(`${fault}\n`)
  process.exit(1)
}
