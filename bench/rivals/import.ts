/**
 * What importing is held against: the loop that one would write first. It reads the same file, makes a job of each
 * row, and adds them a thousand at a time. It checks no row and knows no duplicates; the job holds the row and nothing
 * else, not even the message that is to be sent.
 */
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { Queue } from 'bullmq'
import { parse } from 'csv-parse'
import { rivalQueue } from './queue.ts'

const { REDIS_URL, PORT, FILE } = process.env as Record<string, string>
const CHUNK = 1_000

const queue = new Queue(rivalQueue, { connection: { url: REDIS_URL! } })

async function importFile(): Promise<number> {
  let added = 0
  let chunk: { name: string; data: unknown }[] = []
  const add = async () => {
    const jobs = await queue.addBulk(chunk)
    for (const { id } of jobs) if (!id) throw new Error('a job was not added')
    added += jobs.length
    chunk = []
  }
  for await (const row of createReadStream(FILE!).pipe(parse({ columns: true }))) {
    chunk.push({ name: 'send', data: row })
    if (chunk.length === CHUNK) await add()
  }
  if (chunk.length > 0) await add()
  return added
}

const server = createServer(async (request, response) => {
  try {
    const accepted = request.method === 'POST' ? await importFile() : 0
    response.end(JSON.stringify({ accepted }))
  } catch (error) {
    response.writeHead(500).end((error as Error).message)
  }
})
server.listen(Number(PORT), '127.0.0.1')

process.once('SIGTERM', async () => {
  server.close()
  server.closeAllConnections()
  await queue.close()
  process.exit(0)
})
