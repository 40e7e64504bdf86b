/**
 * What accepting is held against: the barest route that puts a job into a queue. It validates nothing, asks for no
 * key, logs nothing, counts nothing and promises nothing.
 */
import { Queue } from 'bullmq'
import Fastify from 'fastify'
import { rivalQueue } from './queue.ts'

const { REDIS_URL, PORT } = process.env as Record<string, string>

const queue = new Queue(rivalQueue, { connection: { url: REDIS_URL! } })
const app = Fastify({ logger: false })
app.get('/health', async () => ({ status: 'ready' }))
app.post('/v1/messages', async (request, reply) => {
  const { id } = await queue.add('send', request.body)
  return reply.code(202).send({ id })
})
await app.listen({ host: '127.0.0.1', port: Number(PORT) })

process.once('SIGTERM', async () => {
  await app.close()
  await queue.close()
  process.exit(0)
})
