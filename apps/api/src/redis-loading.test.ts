import { Redis } from 'ioredis'
import { afterAll, expect, it } from 'vitest'
import { useRedis } from '../../../test/redis.ts'
import { startApi } from './testing.ts'

const KEYS = 4_000
/** Makes it read its append-only file as slowly as if that were long. */
const redis = await useRedis(afterAll, ['--key-load-delay', '1000'])

it('says that it is ready only when what it is asked for then is answered', async () => {
  const api = await startApi(redis.url)
  const connection = new Redis(redis.url)
  connection.on('error', () => undefined) // it is killed on purpose
  const pipeline = connection.pipeline()
  for (let key = 0; key < KEYS; key++) pipeline.set(`of-others:${key}`, key)
  await pipeline.exec()
  connection.disconnect()

  await redis.kill()
  const back = redis.start()
  const notReady: unknown[] = []
  for (;;) {
    const ready = await api.inject({ url: '/health/ready', key: null })
    if (ready.statusCode === 200) break
    notReady.push(ready.json().reasons)
    await new Promise((done) => setTimeout(done, 50))
  }
  const answer = await api.inject({ url: '/v1/accounts' })
  expect(answer.statusCode, answer.body).toBe(200)
  expect(notReady).toContainEqual(['Redis does not answer'])
  await back
})
