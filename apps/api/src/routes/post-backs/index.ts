/** Post-backs that were given up: list them, and have one sent again by hand. */
import {
  type MessageId,
  type PostBackRecord,
  parsePostBackId,
  postBackId,
  STATES,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { Problem } from '../../problems.ts'
import { refuseBody } from '../../refuse-body.ts'
import type { Storage } from '../../storage.ts'
import { cursorSchema, limitSchema, pageByAccount } from '../paging.ts'

const time = z.iso.datetime()
const postBackSchema = z.object({
  id: z.string().meta({ description: 'The `webhook-id` of the call' }),
  type: z.string().meta({ examples: ['message.delivered'] }),
  message_id: z.string(),
  account: z.string(),
  state: z.enum(STATES).meta({ description: 'What is told' }),
  status: z.enum(['pending', 'delivered', 'dead']),
  at: time,
  attempts: z
    .array(z.object({ at: time, code: z.string(), duration_ms: z.int() }))
    .meta({ description: 'The newest ones' }),
})

const querySchema = z.strictObject({
  status: z.literal('dead').meta({ description: 'Only those that were given up are listed' }),
  account: z.string().min(1).max(64).optional(),
  limit: limitSchema,
  cursor: cursorSchema.optional().meta({ description: '`next` of the page before' }),
})

export function postBackRoutes(app: App, { storage }: { storage: Storage }): void {
  const { ledger } = storage

  app.get(
    '/v1/post-backs',
    {
      config: { scope: 'read' },
      schema: {
        ...bearer,
        tags: ['post-backs'],
        summary: 'Post-backs that were given up',
        description:
          'Account by account, the oldest first; a page may hold fewer than `limit` and still have a `next`.',
        querystring: querySchema,
        response: {
          200: z.object({ items: z.array(postBackSchema), next: z.string().nullable() }),
          ...refusals(400),
        },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const { items, next } = await pageByAccount(storage, request.query, async (account, offset, count) => {
        const found = await ledger.deadPostBacks(account, count + 1, offset)
        return { items: found.slice(0, count), more: found.length > count }
      })
      return { items: await read(items), next }
    },
  )

  app.post(
    '/v1/post-backs/:id/resend',
    {
      config: { scope: 'admin' },
      preValidation: refuseBody,
      schema: {
        ...bearer,
        tags: ['post-backs'],
        summary: 'Tell it again',
        description:
          'One that was given up, or was delivered already; with a new day of tries and the same `webhook-id`.',
        params: z.strictObject({ id: z.string().meta({ examples: ['evt_0001000000000a5f3c9d21_2'] }) }),
        response: { 200: postBackSchema, ...refusals(400, 404, 409) },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const named = parsePostBackId(request.params.id)
      const [found] = named && ledger.accountOf(named.id) !== undefined ? await read([named]) : []
      if (!named || !found) throw new Problem('not-found', 'There is no post-back with this id (any more).')
      if (!(await ledger.resendPostBack(named.id, named.event)))
        throw new Problem('conflict', 'The post-back is pending: it is sent without being asked for.')
      request.log.info({ post_back: request.params.id, by: request.caller?.name }, 'post_back.resent')
      return (await read([named]))[0]!
    },
  )

  /** Those that the ledger still holds, in order. */
  async function read(named: { id: MessageId; event: number }[]): Promise<PostBackView[]> {
    const records = await Promise.all(named.map(({ id }) => ledger.read(id)))
    return named.flatMap(({ id, event }, index) => {
      const told = records[index]?.postBacks[event - 1]
      return told ? [viewOf(id, ledger.accountOf(id)!, told)] : []
    })
  }
}

type PostBackView = z.infer<typeof postBackSchema>

function viewOf(
  id: MessageId,
  account: string,
  { event, state, at, status, attempts }: PostBackRecord,
): PostBackView {
  const instant = (milliseconds: number) => new Date(milliseconds).toISOString()
  return {
    id: postBackId(id, event),
    type: `message.${state}`,
    message_id: id.text,
    account,
    state,
    status,
    at: instant(at),
    attempts: attempts.map(({ at, code, durationMs }) => ({
      at: instant(at),
      code,
      duration_ms: durationMs,
    })),
  }
}
