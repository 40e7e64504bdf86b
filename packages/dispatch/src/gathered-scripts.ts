/**
 * Calls of one script that are issued in one tick go to Redis as one command, which runs the script once for each.
 * Nothing of the script changes: each call has its keys, its arguments and its answer, in the order they were issued.
 *
 * To finish a job and fetch the next one is the most frequent command of a worker. Those whose messages were settled
 * together finish together, and a command costs both sides as much as what it does.
 */
import type { Redis } from 'ioredis'
import { pack } from 'msgpackr'

type Argument = string | number | Buffer | undefined
type Command = (args: Argument[]) => Promise<unknown>

interface Waiting {
  args: Argument[]
  resolve: (answer: unknown) => void
  reject: (error: unknown) => void
}

/** About a millisecond of Redis' time. */
const MOST_TOGETHER = 25
const TOGETHER = '-together'

/**
 * Arguments: how many a call has, then those of the first call, then the places (msgpack) of those that differ from call
 * to call, then these for each call. One that fails takes none of the others with it.
 */
const repeatedly = (lua: string, keys: number) => `local function once(KEYS, ARGV)
${lua}
end
local width, answers = tonumber(ARGV[1]), {}
local keys, arguments = {}, {}
local function put(place, value)
  if place <= ${keys} then
    keys[place] = value
  else
    arguments[place - ${keys}] = value
  end
end
for place = 1, width do put(place, ARGV[1 + place]) end
local differing = cmsgpack.unpack(ARGV[width + 2])
for at = width + 2, #ARGV - 1, #differing do
  for index, place in ipairs(differing) do put(place, ARGV[at + index]) end
  local well, answer = pcall(once, keys, arguments)
  local fault = type(answer) == 'table' and answer.err or not well and tostring(answer)
  answers[#answers + 1] = fault and { 0, fault } or { 1, answer }
end
return answers`

/** A script that writes into what it was given would write into what the next call is given. */
const WRITES_INTO_ITS_ARGUMENTS = /\b(KEYS|ARGV)\s*\[[^\]]*\]\s*=[^=]/

/**
 * Calls whose first key differs, as that of another lane does, are not mixed.
 * @param script that somebody has defined on this connection; BullMQ adds its version to the name
 */
export function gatherScript(redis: Redis, script: string): void {
  const commands = redis as unknown as Record<string, Command & ((...args: Argument[]) => Promise<unknown>)>
  const scripts = redis.scriptsSet as Record<string, { lua: string; numberOfKeys: number }>
  const name = Object.keys(scripts).find(
    (known) => known.startsWith(`${script}:`) && !known.endsWith(TOGETHER),
  )
  if (name === undefined) throw new Error(`there is no script ${script} on this connection`)
  const together = `${name}${TOGETHER}`
  if (commands[together]) return
  const { lua, numberOfKeys } = scripts[name]!
  if (WRITES_INTO_ITS_ARGUMENTS.test(lua)) throw new Error(`${script} writes into its arguments`)
  redis.defineCommand(together, { lua: repeatedly(lua, numberOfKeys), numberOfKeys: 1 })
  const alone = commands[name]!.bind(redis) as Command
  const gathered = new Map<Argument, Waiting[]>()

  const run = async (calls: Waiting[]): Promise<void> => {
    const { args: first } = calls[0]!
    const width = Math.max(...calls.map(({ args }) => args.length))
    const places = Array.from({ length: width }, (_, place) => place)
    // What all have in common, as a lane's keys, is sent once.
    const differing = places.filter((place) => calls.some(({ args }) => args[place] !== first[place]))
    if (differing.length === 0) differing.push(0) // the same again and again: told by how often it comes
    const sent: Argument[] = [first[0], width]
    for (const place of places) sent.push(first[place] ?? '')
    sent.push(pack(differing.map((place) => place + 1)))
    for (const { args } of calls) for (const place of differing) sent.push(args[place] ?? '')
    try {
      const answers = (await commands[together]!(sent)) as [number, unknown?][]
      for (const [index, { resolve, reject }] of calls.entries()) {
        const [well, answer = null] = answers[index]!
        if (well === 1) resolve(answer)
        else reject(new Error(String(answer)))
      }
    } catch (error) {
      for (const { reject } of calls) reject(error)
    }
  }

  const flush = (key: Argument): void => {
    const calls = gathered.get(key) ?? []
    gathered.delete(key)
    for (let from = 0; from < calls.length; from += MOST_TOGETHER) {
      const some = calls.slice(from, from + MOST_TOGETHER)
      const [one] = some
      if (some.length === 1) alone(one!.args).then(one!.resolve, one!.reject)
      else void run(some)
    }
  }

  commands[name] = ((args: Argument[]) =>
    new Promise((resolve, reject) => {
      const key = args[0]
      const others = gathered.get(key)
      if (others) {
        others.push({ args, resolve, reject })
        return
      }
      gathered.set(key, [{ args, resolve, reject }])
      process.nextTick(flush, key)
    })) as (typeof commands)[string]
}
