/** What the worker is held against: the script that one would write first. BullMQ and got as they come, no ledger. */
import { Worker } from 'bullmq'
import got from 'got'
import { type DispatchJob, rivalQueue } from './queue.ts'

const { REDIS_URL, MESSAGES_URL, API_KEY, CONCURRENCY } = process.env as Record<string, string>

const worker = new Worker<DispatchJob>(
  rivalQueue,
  async ({ id, data: { to, message } }) => {
    const reply = await got.post(MESSAGES_URL!, {
      headers: { 'api-key': API_KEY },
      json: {
        messaging_object: {
          messaging_product: 'whatsapp',
          recipient_type: 'individual',
          to: `+${to}`,
          ...message,
        },
        extra_info: { ref: id },
      },
    })
    return JSON.parse(reply.body).data.message_id
  },
  { connection: { url: REDIS_URL! }, concurrency: Number(CONCURRENCY) },
)
worker.on('error', (error) => console.error(error.message))

process.once('SIGTERM', async () => {
  await worker.close()
  process.exit(0)
})
