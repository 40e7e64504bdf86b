/**
 * What limits are held against: BullMQ's own limiter as its documentation shows it, a worker for each queue, and the
 * script of rivals/dispatch.ts in it.
 */
import { Worker } from 'bullmq'
import got from 'got'
import type { DispatchJob, LimitedQueue } from './queue.ts'

const { REDIS_URL, ACCOUNT_URL, API_KEY, CONCURRENCY, QUEUES } = process.env as Record<string, string>

const workers = (JSON.parse(QUEUES!) as LimitedQueue[]).map(({ name, sender, perSecond }) => {
  const worker = new Worker<DispatchJob>(
    name,
    async ({ id, data: { to, message } }) => {
      const reply = await got.post(`${ACCOUNT_URL}/${sender}/messages`, {
        headers: { 'api-key': API_KEY },
        json: {
          messaging_object: {
            messaging_product: 'whatsapp',
            recipient_type: 'individual',
            to: `+${to}`,
            ...message,
          },
          extra_info: { ref: `${name}-${id}` },
        },
      })
      return JSON.parse(reply.body).data.message_id
    },
    {
      connection: { url: REDIS_URL! },
      concurrency: Number(CONCURRENCY),
      limiter: { max: perSecond, duration: 1_000 },
    },
  )
  worker.on('error', (error) => console.error(error.message))
  return worker
})

process.once('SIGTERM', async () => {
  // What waits for its turn is of no interest any more.
  await Promise.all(workers.map((worker) => worker.close(true)))
  process.exit(0)
})
