/** Settings: environment variables, and a JSON file for accounts and faults that are there from the start. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { accountSchema } from './accounts/schema.ts'
import { faultSchema } from './faults/schema.ts'
import { receiptRuleSchema, senderSchema } from './receipts/schema.ts'

/** What the file that `SIMULATOR_CONFIG` names may hold. */
export const fileSchema = z.strictObject({
  /** Where the chances of fault rules begin; the same seed gives the same run. */
  seed: z.number().int().min(0).max(0xffff_ffff).default(1),
  /** How many requests are remembered in compact form, and how many of them whole. */
  keptRequests: z.number().int().min(1).max(10_000_000).default(1_000_000),
  detailedRequests: z.number().int().min(0).max(1_000_000).default(50_000),
  accounts: z.array(accountSchema).default([]),
  faults: z.array(faultSchema).default([]),
  /** What messages hear after they were taken; without a rule, nothing. */
  receipts: z.array(receiptRuleSchema).default([]),
  receiptSender: senderSchema.prefault({}),
  /** How many receipts are remembered. */
  keptReceipts: z.number().int().min(1).max(10_000_000).default(1_000_000),
})

export type SimulatorFile = z.infer<typeof fileSchema>
export type SimulatorFileInput = z.input<typeof fileSchema>

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

const environmentSchema = z.object({
  SIMULATOR_HOST: z.string().min(1).default('127.0.0.1'),
  SIMULATOR_PORT: z
    .string()
    .regex(/^\d{1,5}$/, 'a port number, 0 for a free one')
    .transform(Number)
    .refine((port) => port <= 65_535, { error: 'a port number, 0 for a free one' })
    .default(3100),
  SIMULATOR_CONFIG: z.string().min(1).optional(),
  LOG_LEVEL: z.enum(logLevels, { error: `one of ${logLevels.join(', ')}` }).default('info'),
})

export interface Config {
  host: string
  port: number
  logLevel: (typeof logLevels)[number]
  file: SimulatorFile
}

/** Settings that do not fit: one line per fault, none of which holds a value. */
export class ConfigError extends Error {
  readonly lines: string[]

  constructor(lines: string[]) {
    super(lines.join('\n'))
    this.lines = lines
  }
}

/** Reads the environment and the file it names. Throws {@link ConfigError}. */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  // An empty variable is one that was not set.
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const settings = environmentSchema.safeParse(given)
  if (!settings.success) {
    throw new ConfigError(settings.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`))
  }
  const { SIMULATOR_HOST, SIMULATOR_PORT, SIMULATOR_CONFIG, LOG_LEVEL } = settings.data
  const file = SIMULATOR_CONFIG === undefined ? fileSchema.parse({}) : readFile(SIMULATOR_CONFIG)
  return { host: SIMULATOR_HOST, port: SIMULATOR_PORT, logLevel: LOG_LEVEL, file }
}

function readFile(path: string): SimulatorFile {
  let content: unknown
  try {
    content = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    // A syntax error's message quotes the file, which may hold credentials.
    const why = error instanceof SyntaxError ? 'is not valid JSON' : (error as NodeJS.ErrnoException).code
    throw new ConfigError([`SIMULATOR_CONFIG: ${path}: ${why}`])
  }
  const file = fileSchema.safeParse(content)
  if (file.success) return file.data
  throw new ConfigError(
    file.error.issues.map(
      (issue) => `SIMULATOR_CONFIG: ${issue.path.join('.') || '(file)'}: ${issue.message}`,
    ),
  )
}
