import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { afterAll, expect, test } from 'vitest'
import { endings } from '../../../test/endings.ts'
import { useRedis } from '../../../test/redis.ts'
import { luaFunction } from './lua-function.ts'

const { url } = await useRedis(endings())
const redis = new Redis(url, { maxRetriesPerRequest: null })
afterAll(() => redis.disconnect())

/** What the script answers when it runs with the one and then with the other. */
const runTwice = (lua: string) =>
  redis.eval(`${luaFunction('once', lua)}\nreturn { once({ 'a' }, { '1' }), once({ 'b' }, { '2' }) }`, 0)
/** What is done once, and what each run does. */
const parts = (lua: string) => luaFunction('once', lua).split('local function act()') as [string, string]

const script = `--[[
  local KEYS in a comment
]]
local key = KEYS[1]
local rcall = redis.call
local parsed = cmsgpack.unpack(cmsgpack.pack({ ARGV[1] }))
local said
-- Joins.
local function join(one,
  other)
  if one then
    return one .. other
  end
end
local twice = function (text)
  return join(text, text)
end`

test('functions are defined once, and each run has its own keys and arguments', async () => {
  const lua = `${script}\nlocal late = join(key, parsed[1])\nlocal function more() return late end\nreturn twice(more())`
  expect(await runTwice(lua)).toEqual(['a1a1', 'b2b2'])
  const [once, each] = parts(lua)
  expect(once).toContain('local twice = function')
  expect(each).not.toContain('function (text)')
  expect(each).toContain('local function more')
})

test.each([
  [
    'keys and arguments',
    'local function first()\n  return KEYS[1] .. ARGV[1]\nend\nreturn first()',
    ['a1', 'b2'],
  ],
  [
    'what the script keeps',
    'local function first()\n  return key .. parsed[1]\nend\nreturn first()',
    ['a1', 'b2'],
  ],
  [
    'what it changes',
    "local function say()\n  said = (said or '') .. key\n  return said\nend\nreturn say()",
    ['a', 'b'],
  ],
])('functions see %s of this run', async (_what, lua, answers) => {
  expect(await runTwice(`${script}\n${lua}`)).toEqual(answers)
})

test('a script whose parts lie otherwise runs as it is', async () => {
  const lua = `if not KEYS then return 'none' end
local both = {
  KEYS[1], ARGV[1],
}
local function joined()
  return table.concat(both)
end
return joined()`
  expect(await runTwice(lua)).toEqual(['a1', 'b2'])
  expect(parts(lua)[0]).not.toContain('joined')
})

test.each(['moveToFinished', 'addStandardJob', 'addDelayedJob', 'addPrioritizedJob'])(
  "of BullMQ's script %s, all functions are defined once",
  async (name) => {
    const worker = new Worker('any', undefined, { connection: redis, skipVersionCheck: true, autorun: false })
    worker.on('error', () => undefined)
    await worker.waitUntilReady()
    const scripts = redis.scriptsSet as Record<string, { lua: string }>
    const [, known] = Object.entries(scripts).find(([version]) => version.startsWith(`${name}:`))!
    const [once, each] = parts(known.lua)
    const functions = /^local function /gm
    expect(once.match(functions)?.length).toBeGreaterThan(20)
    expect(each.match(functions)).toBeNull()
    await worker.close()
  },
)
