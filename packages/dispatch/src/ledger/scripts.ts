/** Runs the ledger's scripts: one message at a time, or all that ask together in one call. */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { type MessageId, placeOf } from './ids.ts'
import { type AccountKeys, accountKeys, sharedKeys } from './keys.ts'
import type { LedgerOptions } from './types.ts'

const scriptNames = ['accept', 'requeue', 'end-waiting', 'resolve'] as const
/** Scripts that run for all messages of an account that ask in the same turn of the event loop: once each, in one call. */
const gathered = {
  // Those who ask have mostly been waiting for the same answer of Redis: they are here before the next tick.
  claim: { keys: 2, args: 4, wait: process.nextTick },
  // Answers of a provider come one by one; those that are here already are handled before the immediates.
  settle: { keys: 3, args: 12, wait: setImmediate },
} as const
type GatheredName = keyof typeof gathered
type ScriptName = (typeof scriptNames)[number]
export type Reply = (string | number)[]
type Argument = string | number | Buffer

/** A name of its own: ioredis' pipelines have methods too, and `resolve` is one of them. */
const commandOf = (name: ScriptName | GatheredName) => `ledger-${name}` as const

/** One call of a gathered script. */
interface Gathered {
  id: MessageId
  args: Argument[]
  moreKeys: string[]
  resolve: (reply: Reply) => void
  reject: (error: unknown) => void
}

/** How many messages one gathered script is about: about two milliseconds of Redis' time. */
const MOST_TOGETHER = 50

/**
 * A script about one message, for many: it finds its keys and arguments where it would find them alone.
 * @param keys of one message, behind the shared ones
 * @param args of one message, from its id on
 */
const forEach = (script: string, keys: number, args: number) => `
local function one(KEYS, ARGV)
${script}
end
local replies = {}
for index = 0, (#ARGV - 2) / ${args} - 1 do
  local its_keys, its_args = { KEYS[1], KEYS[2], KEYS[3], KEYS[4] }, { ARGV[1], ARGV[2] }
  for key = 1, ${keys} do its_keys[4 + key] = KEYS[4 + index * ${keys} + key] end
  for arg = 1, ${args} do its_args[2 + arg] = ARGV[2 + index * ${args} + arg] end
  take(its_keys[5], its_keys[6], its_args[3])
  replies[index + 1] = one(its_keys, its_args)
end
return replies`

const source = (name: string) => readFileSync(new URL(`scripts/${name}.lua`, import.meta.url), 'utf8')

export class Scripts {
  readonly #redis: Redis
  readonly #retentionSeconds: number
  readonly #clock: (() => number) | undefined
  readonly #gathering = new Map<string, Gathered[]>()

  constructor({ redis, retentionDays, clock }: LedgerOptions) {
    this.#redis = redis
    this.#retentionSeconds = Math.round(retentionDays * 86_400)
    this.#clock = clock
    const record = source('record')
    for (const name of scriptNames)
      redis.defineCommand(commandOf(name), { lua: `${record}\n${source(name)}` })
    for (const [name, { keys, args }] of Object.entries(gathered)) {
      const lua = `${record}\n${forEach(source(name), keys, args)}`
      redis.defineCommand(commandOf(name as GatheredName), { lua })
    }
    redis.defineCommand('register', { lua: source('register'), numberOfKeys: 1 })
  }

  #now(): number | '' {
    return this.#clock ? Math.floor(this.#clock()) : ''
  }

  /** Runs a script about one message, together with those about others of its account. */
  gather(script: GatheredName, id: MessageId, args: Argument[], moreKeys: string[] = []): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const lot = `${script} ${id.account}`
      const together = this.#gathering.get(lot)
      const one = { id, args, moreKeys, resolve, reject }
      if (together) together.push(one)
      else {
        this.#gathering.set(lot, [one])
        gathered[script].wait(() => {
          const all = this.#gathering.get(lot) ?? []
          this.#gathering.delete(lot)
          for (let from = 0; from < all.length; from += MOST_TOGETHER) {
            void this.#runEach(script, accountKeys(id.account), all.slice(from, from + MOST_TOGETHER))
          }
        })
      }
    })
  }

  async #runEach(script: GatheredName, keys: AccountKeys, all: Gathered[]): Promise<void> {
    const allKeys: string[] = []
    const allArgs: Argument[] = []
    for (const { id, args, moreKeys } of all) {
      const place = [keys.bucket(placeOf(id).bucket), keys.content(id.text), ...moreKeys]
      // Each has as many keys as the others: one that it does not use is its bucket.
      while (place.length < gathered[script].keys) place.push(place[0]!)
      allKeys.push(...place)
      allArgs.push(id.text.slice(4), ...args)
    }
    try {
      const replies = (await this.call(script, keys, allKeys, allArgs)) as unknown as Reply[]
      for (const [index, { resolve }] of all.entries()) resolve(replies[index]!)
    } catch (error) {
      for (const { reject } of all) reject(error)
    }
  }

  /** Runs a script about one message. */
  run(script: ScriptName, id: MessageId, args: Argument[], moreKeys: string[] = []): Promise<Reply> {
    const keys = accountKeys(id.account)
    const place = [keys.bucket(placeOf(id).bucket), keys.content(id.text)]
    return this.call(script, keys, [...place, ...moreKeys], [id.text.slice(4), ...args])
  }

  /** Runs a script with these keys behind the shared ones, and these arguments behind clock and retention. */
  call(
    script: ScriptName | GatheredName,
    keys: AccountKeys,
    more: string[],
    args: Argument[],
  ): Promise<Reply> {
    const commands = this.#redis as unknown as Record<string, (...args: unknown[]) => Promise<Reply>>
    const all = [...sharedKeys(keys), ...more]
    return commands[commandOf(script)]!(all.length, ...all, this.#now(), this.#retentionSeconds, ...args)
  }

  /** Gives accounts their numbers; it stands alone, without the others' keys and arguments. */
  register(key: string, args: (string | number)[]): Promise<number[]> {
    const commands = this.#redis as unknown as { register(...args: (string | number)[]): Promise<number[]> }
    return commands.register(key, ...args)
  }
}
