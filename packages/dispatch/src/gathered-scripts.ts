/**
 * Calls of one script that are issued in one turn of the event loop go to Redis as one command, which runs the script
 * once for each. What the script does stays the same: each call has its keys, its arguments and its answer, in the order
 * they were issued.
 *
 * To finish a job and fetch the next one is the most frequent command of a worker, and a command costs both sides as
 * much as what it does.
 */
import type { Redis } from 'ioredis'
import { pack } from 'msgpackr'
import { unpack } from './ledger/unpack.ts'
import { luaFunction } from './lua-function.ts'

export type Argument = string | number | Buffer | undefined
type Command = (args: Argument[]) => Promise<unknown>

interface Script {
  lua: string
  numberOfKeys: number
}

/** What is done ahead of the calls, in the same command: none of them is run where it fails. */
export interface Ahead<Step> {
  /** Stands in front of the script; it has the first key, and so many arguments from the first on. */
  lua: string
  width: number
  /** An expression: an answer for each step, in order. */
  run: string
  /** @returns what is to be done ahead of this call, if anything */
  take(args: Argument[], script: Script): Step | undefined
  /** @returns the key and the arguments that `lua` is given */
  arguments(steps: Step[]): [key: string, ...Argument[]]
  answer(step: Step, reply: unknown): void
  /** Does it in another way; the call is run by itself once that is done, and fails when it fails. */
  mend(step: Step, error: unknown): Promise<unknown>
}

interface Waiting<Step> {
  args: Argument[]
  step: Step | undefined
  resolve: (answer: unknown) => void
  reject: (error: unknown) => void
}

/** About a millisecond of Redis' time. */
const MOST_TOGETHER = 25
const TOGETHER = '-together'

/**
 * Arguments: those of what is ahead; how many a call has, then those of the first call, then the places (msgpack) of those
 * that differ from call to call, then these for each call. One that fails takes none of the others with it. The answers go
 * back as one text, which costs both sides less.
 */
const repeatedly = ({ lua, numberOfKeys }: Script, ahead = { lua: '', width: 0, run: '{}' }) => `${ahead.lua}
${luaFunction('once', lua)}
local done, answers = ${ahead.run}, {}
local from = ${ahead.width + 1}
local width = tonumber(ARGV[from])
local keys, arguments = {}, {}
local function put(place, value)
  if place <= ${numberOfKeys} then
    keys[place] = value
  else
    arguments[place - ${numberOfKeys}] = value
  end
end
for place = 1, width do put(place, ARGV[from + place]) end
local differing = cmsgpack.unpack(ARGV[from + width + 1])
for at = from + width + 1, #ARGV - 1, #differing do
  for index, place in ipairs(differing) do put(place, ARGV[at + index]) end
  local well, answer = pcall(once, keys, arguments)
  local fault = type(answer) == 'table' and answer.err or not well and tostring(answer)
  answers[#answers + 1] = fault and { 0, fault } or { 1, answer }
end
return cmsgpack.pack({ done, answers })`

/** What Redis would answer by itself: of numbers what is before the point, and nothing for false. */
function asAnswered(answer: unknown): unknown {
  if (typeof answer === 'number') return Math.trunc(answer)
  if (Array.isArray(answer)) return answer.map(asAnswered)
  return answer === false ? null : answer
}

/** A script that writes into what it was given would write into what the next call is given. */
const WRITES_INTO_ITS_ARGUMENTS = /\b(KEYS|ARGV)\s*\[[^\]]*\]\s*=[^=]/

/**
 * Calls whose first key differs, as that of another lane does, are not mixed.
 * @param name of a script that somebody has defined on this connection; BullMQ adds its version to the name
 */
export function gatherScript<Step = never>(redis: Redis, name: string, ahead?: Ahead<Step>): void {
  const commands = redis as unknown as Record<string, Command & ((...args: Argument[]) => Promise<unknown>)>
  const scripts = redis.scriptsSet as Record<string, Script>
  const known = Object.keys(scripts).find((one) => one.startsWith(`${name}:`) && !one.includes(TOGETHER))
  if (known === undefined) throw new Error(`there is no script ${name} on this connection`)
  const together = `${known}${TOGETHER}`
  const behind = `${together}-behind`
  if (commands[together]) return
  const script = scripts[known]!
  if (WRITES_INTO_ITS_ARGUMENTS.test(script.lua)) throw new Error(`${name} writes into its arguments`)
  redis.defineCommand(together, { lua: repeatedly(script), numberOfKeys: 1 })
  if (ahead) redis.defineCommand(behind, { lua: repeatedly(script, ahead), numberOfKeys: 1 })
  const alone = commands[known]!.bind(redis) as Command
  const gathered = new Map<Argument, Waiting<Step>[]>()

  const mended = async (step: Step | undefined, error: unknown): Promise<void> => {
    if (step !== undefined) await ahead?.mend(step, error)
  }

  const send = async (calls: Waiting<Step>[], steps: Step[]): Promise<Buffer> => {
    const { args: first } = calls[0]!
    const width = Math.max(...calls.map(({ args }) => args.length))
    const places = Array.from({ length: width }, (_, place) => place)
    // What all have in common, as a lane's keys, is sent once.
    const differing = places.filter((place) => calls.some(({ args }) => args[place] !== first[place]))
    if (differing.length === 0) differing.push(0) // the same again and again: told by how often it comes
    const sent: Argument[] = steps.length && ahead ? ahead.arguments(steps) : [first[0]]
    sent.push(width)
    for (const place of places) sent.push(first[place] ?? '')
    sent.push(pack(differing.map((place) => place + 1)))
    for (const { args } of calls) for (const place of differing) sent.push(args[place] ?? '')
    return (await commands[`${steps.length ? behind : together}Buffer`]!(sent)) as Buffer
  }

  const run = async (calls: Waiting<Step>[]): Promise<void> => {
    const steps = calls.flatMap(({ step }) => (step === undefined ? [] : [step]))
    let packed: Buffer
    try {
      packed = await send(calls, steps)
    } catch (error) {
      for (const { args, step, resolve, reject } of calls) {
        if (steps.length === 0) reject(error)
        else mended(step, error).then(() => alone(args).then(resolve, reject), reject)
      }
      return
    }
    const [done, answers] = unpack(packed) as [unknown[], [number, unknown?][]]
    for (const [index, step] of steps.entries()) ahead?.answer(step, done[index])
    for (const [index, { resolve, reject }] of calls.entries()) {
      const [well, answer = null] = answers[index]!
      if (well === 1) resolve(asAnswered(answer))
      else reject(new Error(String(answer)))
    }
  }

  const flush = (key: Argument): void => {
    const calls = gathered.get(key) ?? []
    gathered.delete(key)
    for (let from = 0; from < calls.length; from += MOST_TOGETHER) {
      const some = calls.slice(from, from + MOST_TOGETHER)
      const [one] = some
      if (some.length === 1 && one!.step === undefined) alone(one!.args).then(one!.resolve, one!.reject)
      else void run(some)
    }
  }

  commands[known] = ((args: Argument[]) =>
    new Promise((resolve, reject) => {
      const call = { args, step: ahead?.take(args, script), resolve, reject }
      const key = args[0]
      const others = gathered.get(key)
      if (others) {
        others.push(call)
        return
      }
      gathered.set(key, [call])
      // Answers of a provider come one by one; those that are here already are handled before the immediates.
      setImmediate(flush, key)
    })) as (typeof commands)[string]
}
