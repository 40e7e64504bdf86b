import { Redis } from 'ioredis'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { endings } from '../../../test/endings.ts'
import { useRedis } from '../../../test/redis.ts'
import { gatherScript } from './gathered-scripts.ts'

const onEnd = endings()
const { url } = await useRedis(onEnd)
let redis: Redis
type Call = (args: (string | number | undefined)[]) => Promise<unknown>
let call: Call

/** Adds to a list and tells what it was given; some words make it fail, or answer something else. */
const lua = `local rcall = redis.call
if ARGV[1] == 'fails' then return redis.error_reply('ERR as asked') end
if ARGV[1] == 'breaks' then return rcall('INCR', KEYS[1]) end
local length = rcall('RPUSH', KEYS[1], ARGV[1])
if ARGV[1] == 'nothing' then return end
if ARGV[1] == 'number' then return -6 end
if ARGV[1] == 'time' then return { 0, 1763812345678.75, false, 'é', { 4294967296.5 } } end
return { KEYS[2], ARGV[1], ARGV[2], #ARGV, length, { ARGV[2] } }`

beforeEach(async () => {
  redis?.disconnect()
  redis = new Redis(url)
  await redis.flushall()
  redis.defineCommand('other:1.0', { lua: 'return 1', numberOfKeys: 1 })
  redis.defineCommand('probe:1.0', { lua, numberOfKeys: 2 })
  gatherScript(redis, 'probe')
  gatherScript(redis, 'probe')
  call = (args) => (redis as unknown as Record<string, Call>)['probe:1.0']!(args)
})
afterAll(() => redis?.disconnect())

const scriptsRun = async () => {
  const [, count] = /cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats')) ?? []
  return Number(count ?? 0)
}

test('calls of one tick are one command, each with its own keys, arguments and answer', async () => {
  await redis.config('RESETSTAT')
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, index) => call(['list', `key-${index}`, `word-${index}`, index])),
  )
  expect(answers).toEqual(
    answers.map((_, index) => [`key-${index}`, `word-${index}`, `${index}`, 2, index + 1, [`${index}`]]),
  )
  expect(await scriptsRun()).toBeLessThanOrEqual(2)
  expect(await redis.llen('list')).toBe(20)
})

test('one alone, or one after the other, goes as it always did', async () => {
  expect(await call(['list', 'k', 'a', undefined])).toEqual(['k', 'a', '', 2, 1, ['']])
  expect(await call(['list', 'k', 'b', 7])).toEqual(['k', 'b', '7', 2, 2, ['7']])
})

test('calls that are the same each run', async () => {
  const answers = await Promise.all(Array.from({ length: 4 }, () => call(['list', 'k', 'a', 7])))
  expect(answers).toEqual([1, 2, 3, 4].map((length) => ['k', 'a', '7', 2, length, ['7']]))
})

test('of calls of different lengths, what the shorter ones lack is empty', async () => {
  const calls = [
    ['list', 'k', 'a'],
    ['list', 'k', 'a', 'b'],
    ['list', 'k', 'a'],
  ]
  const answers = (await Promise.all(calls.map(call))) as unknown[][]
  expect(answers.map((answer) => answer[2])).toEqual(['', 'b', ''])
})

test('a script that writes into what it was given is refused', () => {
  redis.defineCommand('writer:1.0', { lua: "ARGV[1] = 'x' return ARGV[1]", numberOfKeys: 1 })
  expect(() => gatherScript(redis, 'writer')).toThrow('writer writes into its arguments')
  redis.defineCommand('reader:1.0', { lua: "if ARGV[1] == 'x' then return 1 end", numberOfKeys: 1 })
  gatherScript(redis, 'reader')
})

test('what is missing is empty, and all else is answered as Redis would answer it', async () => {
  const calls = [
    ['list', 'k', 'a', undefined],
    ['list', 'k', 'nothing', ''],
    ['list', 'k', 'number', ''],
  ]
  expect(await Promise.all(calls.map(call))).toEqual([['k', 'a', '', 2, 1, ['']], null, -6])
  const alone = await call(['list', 'k', 'time', ''])
  expect(alone).toEqual([0, 1763812345678, null, 'é', [4294967296]])
  expect(await Promise.all([1, 2].map(() => call(['list', 'k', 'time', ''])))).toEqual([alone, alone])
})

test('one that fails takes none of the others with it', async () => {
  const words = ['a', 'fails', 'b', 'c']
  const settled = await Promise.allSettled(words.map((word) => call(['list', 'k', word, ''])))
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
  expect(String((settled[1] as PromiseRejectedResult).reason)).toContain('as asked')
  await redis.del('list')
  const broken = await Promise.allSettled(['a', 'breaks', 'b'].map((word) => call(['list', 'k', word, ''])))
  expect(broken.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(await redis.lrange('list', 0, -1)).toEqual(['a', 'b'])
})

test('lanes are not mixed, and a Redis that is away fails each call', async () => {
  await redis.config('RESETSTAT')
  const answers = await Promise.all(['x', 'y', 'x', 'y'].map((lane) => call([lane, 'k', 'word', ''])))
  expect(answers.map((answer) => (answer as number[])[4])).toEqual([1, 1, 2, 2])
  expect(await scriptsRun()).toBeLessThanOrEqual(4)
  redis.disconnect()
  const settled = await Promise.allSettled([call(['x', 'k', 'a', '']), call(['x', 'k', 'b', ''])])
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
})
