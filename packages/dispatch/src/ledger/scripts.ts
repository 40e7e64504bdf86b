/** Runs the ledger's scripts: about one message, or about all that are asked about together in one call. */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { pack } from 'msgpackr'
import { luaFunction } from '../lua-function.ts'
import type { MessageId } from './ids.ts'
import { accountTag } from './keys.ts'
import type { LaneScript, LedgerOptions } from './types.ts'
import { unpack } from './unpack.ts'

/** What one step of a script is about: the message's id without `msg_`, and what scripts/*.lua say behind it. */
export type Call = [id: string, ...Argument[]]
export type Argument = string | number | string[]
export type Reply = (string | number | string[])[]

const scriptNames = [
  'accept',
  'claim',
  'settle',
  'requeue',
  'end-waiting',
  'resolve',
  'reopen',
  'post-back',
] as const
type ScriptName = (typeof scriptNames)[number]

/** Scripts that run together for all messages of an account that ask in the same turn of the event loop. */
const gathered = {
  // Those who ask have mostly been waiting for the same answer of Redis: they are here before the next tick.
  claim: process.nextTick,
  // Answers of a provider come one by one; those that are here already are handled before the immediates.
  settle: setImmediate,
} as const
type GatheredName = keyof typeof gathered

/** A name of its own: ioredis' pipelines have methods too, and `resolve` is one of them. */
const commandOf = (name: ScriptName) => `ledger-${name}` as const

interface Gathered {
  call: Call
  resolve: (reply: Reply) => void
  reject: (error: unknown) => void
}

type SettleScriptArgument = string | number | Buffer

/** How many messages one gathered script is about: about two milliseconds of Redis' time. */
const MOST_TOGETHER = 50

const source = (name: string) => readFileSync(new URL(`scripts/${name}.lua`, import.meta.url), 'utf8')

export class Scripts {
  readonly #redis: Redis
  readonly #retentionSeconds: number
  readonly #clock: (() => number) | undefined
  #addsJobs = false
  readonly #gathering = new Map<string, Gathered[]>()

  constructor({ redis, retentionDays, clock }: LedgerOptions) {
    this.#redis = redis
    this.#retentionSeconds = Math.round(retentionDays * 86_400)
    this.#clock = clock
    const record = source('record')
    for (const name of scriptNames) {
      const lua = `${record}\nreturn for_each_call(function(call)\n${source(name)}\nend)`
      redis.defineCommand(commandOf(name), { lua, numberOfKeys: 1 })
    }
    const feed = `${record}\nlocal function accept(call)\n${source('accept')}\nend\n${source('feed')}`
    redis.defineCommand('ledger-feed', { lua: feed, numberOfKeys: 1 })
    for (const name of ['receipts', 'post-backs'] as const) {
      redis.defineCommand(`ledger-${name}`, { lua: `${record}\n${source(name)}`, numberOfKeys: 1 })
    }
    redis.defineCommand('register', { lua: source('register'), numberOfKeys: 1 })
  }

  #now(): number | '' {
    return this.#clock ? Math.floor(this.#clock()) : ''
  }

  /** Runs a script about one message, together with those about others of its account. */
  gather(name: GatheredName, id: MessageId, args: Argument[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const lot = `${name} ${id.account}`
      const together = this.#gathering.get(lot)
      const one: Gathered = { call: [id.text.slice(4), ...args], resolve, reject }
      if (together) {
        together.push(one)
        return
      }
      this.#gathering.set(lot, [one])
      gathered[name](() => {
        const all = this.#gathering.get(lot) ?? []
        this.#gathering.delete(lot)
        for (let from = 0; from < all.length; from += MOST_TOGETHER) {
          void this.#runTogether(name, id.account, all.slice(from, from + MOST_TOGETHER))
        }
      })
    })
  }

  async #runTogether(name: GatheredName, account: number, all: Gathered[]): Promise<void> {
    try {
      const replies = await this.each(
        name,
        account,
        all.map(({ call }) => call),
      )
      for (const [index, { resolve }] of all.entries()) resolve(replies[index]!)
    } catch (error) {
      for (const { reject } of all) reject(error)
    }
  }

  /** Runs a script about one message. */
  async one(name: ScriptName, id: MessageId, args: Argument[]): Promise<Reply> {
    const [reply] = await this.each(name, id.account, [[id.text.slice(4), ...args]])
    return reply!
  }

  /** Runs a script about messages of one account, all in one go. @returns a reply for each, in order */
  async each(name: ScriptName, account: number, calls: Call[]): Promise<Reply[]> {
    return unpack((await this.#run(commandOf(name), account, pack(calls)))!) as Reply[]
  }

  /**
   * Runs `feed`, which asks for the campaign's cursor before it takes its rows in.
   * @returns undefined when it did not
   */
  async feed(
    account: number,
    calls: Call[],
    campaign: number,
    cursor: number,
    next: number,
  ): Promise<Reply[] | undefined> {
    const replies = await this.#run('ledger-feed', account, pack(calls), campaign, cursor, next)
    return replies ? (unpack(replies) as Reply[]) : undefined
  }

  /** Runs `accept` for each, and BullMQ's own script behind it. */
  async acceptOnto(account: number, calls: Call[], { lua, lane }: LaneScript): Promise<Reply[]> {
    if (!this.#addsJobs) {
      const accept = `local function accept(call)\n${source('accept')}\nend`
      const addJob = luaFunction('add_job', lua.replaceAll('cmsgpack.unpack', ''))
      const script = [source('record'), accept, addJob, source('accept-onto')].join('\n')
      this.#redis.defineCommand('ledger-accept-onto', { lua: script, numberOfKeys: 1 })
      this.#addsJobs = true
    }
    return unpack((await this.#run('ledger-accept-onto', account, pack(calls), lane))!) as Reply[]
  }

  /** Defines `settle_all()`, which settles what its arguments name and gives back the replies, in order. */
  get settleScript(): string {
    return `${source('record')}
local function settle(call)
${source('settle')}
end
local function settle_all() return each_reply(settle) end`
  }

  settleScriptArguments(account: number, calls: Call[]): [key: string, ...SettleScriptArgument[]] {
    return [accountTag(account), this.#now(), this.#retentionSeconds, pack(calls)]
  }

  /** Applies receipts. @returns for each, in order: id, state, whether it moved */
  async receipts(account: number, calls: Argument[][]): Promise<Reply[]> {
    return unpack((await this.#run('ledger-receipts', account, pack(calls)))!) as Reply[]
  }

  /** Takes events that callers are to be told of; the arguments stand in scripts/post-backs.lua. */
  async takePostBacks(account: number, room: [string, number][], ...args: number[]): Promise<Reply[]> {
    return unpack((await this.#run('ledger-post-backs', account, pack(room), ...args))!) as Reply[]
  }

  #run(command: string, account: number, ...args: (Buffer | number)[]): Promise<Buffer | null> {
    const commands = this.#redis as unknown as Record<string, (...args: unknown[]) => Promise<Buffer | null>>
    return commands[`${command}Buffer`]!(accountTag(account), this.#now(), this.#retentionSeconds, ...args)
  }

  /** Gives accounts their numbers; it stands alone, without the others' keys and arguments. */
  register(key: string, args: (string | number)[]): Promise<number[]> {
    const commands = this.#redis as unknown as { register(...args: (string | number)[]): Promise<number[]> }
    return commands.register(key, ...args)
  }
}
