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
/** What stands in front of the function, and the function. */
const parts = (lua: string) =>
  luaFunction('once', lua).split('once = function(KEYS, ARGV)') as [string, string]

const definitions = `--[[
  local KEYS in a comment
]]
local rcall = redis.call
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
  const lua = `${definitions}\nlocal key = KEYS[1]\nlocal function late() return ARGV[1] end\nreturn join(twice(key), late())`
  expect(await runTwice(lua)).toEqual(['aa1', 'bb2'])
  const [once, each] = parts(lua)
  expect(once).toContain('local twice')
  expect(each).not.toContain('local twice')
  expect(each).toContain('local function late')
})

test('functions that see keys or arguments are defined for each run', async () => {
  const lua = `${definitions}\nlocal function first()\n  return KEYS[1] .. ARGV[1]\nend\nreturn twice(first())`
  expect(await runTwice(lua)).toEqual(['a1a1', 'b2b2'])
})

test('what a script keeps in front of its functions is not shared between runs', async () => {
  const lua =
    'local count = 0\nlocal function next_one()\n  count = count + 1\n  return count\nend\nreturn next_one()'
  expect(await runTwice(lua)).toEqual([1, 1])
})

test("of BullMQ's script that ends a job, all functions are defined once", async () => {
  const worker = new Worker('any', undefined, { connection: redis, skipVersionCheck: true, autorun: false })
  worker.on('error', () => undefined)
  await worker.waitUntilReady()
  const scripts = redis.scriptsSet as Record<string, { lua: string }>
  const [, script] = Object.entries(scripts).find(([name]) => name.startsWith('moveToFinished:'))!
  const [once, each] = parts(script.lua)
  const functions = /^local function /gm
  expect(once.match(functions)?.length).toBeGreaterThan(20)
  expect(each.match(functions)).toBeNull()
  await worker.close()
})
