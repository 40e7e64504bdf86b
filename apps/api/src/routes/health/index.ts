/** For whoever watches the process: does it live, can it take messages. */
import { z } from 'zod'
import type { App } from '../../app.ts'
import type { Storage } from '../../storage.ts'

const liveSchema = z.object({ status: z.literal('live') })

const readySchema = z.object({
  status: z.enum(['ready', 'not ready']),
  redis: z.enum(['up', 'away']),
  ledger: z.enum(['open', 'closed']),
  reasons: z.array(z.string()).meta({ description: 'Why it is not ready' }),
  unsafe: z
    .array(z.string())
    .meta({ description: 'Settings of Redis with which accepted messages can be lost' }),
})

export function healthRoutes(app: App, { storage }: { storage: Storage }): void {
  const config = { scope: 'open', rateLimit: false } as const

  app.get(
    '/health/live',
    {
      config,
      schema: { tags: ['operation'], summary: 'Whether the process lives', response: { 200: liveSchema } },
    },
    async () => ({ status: 'live' as const }),
  )

  app.get(
    '/health/ready',
    {
      config,
      schema: {
        tags: ['operation'],
        summary: 'Whether messages can be taken, and what is unsafe',
        response: { 200: readySchema, 503: readySchema },
      },
    },
    async (_request, reply) => {
      const state = await storage.state()
      const reasons = [
        ...(state.redis === 'away' ? ['Redis does not answer'] : []),
        ...(state.ledger === 'closed' ? ['the ledger is not open yet'] : []),
      ]
      const ready = reasons.length === 0
      if (!ready) reply.header('retry-after', 2)
      return reply.code(ready ? 200 : 503).send({ status: ready ? 'ready' : 'not ready', ...state, reasons })
    },
  )
}
