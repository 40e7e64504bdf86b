/** What people and callers may still change about a message. */
import {
  addToLane,
  jobIdOf,
  type MessageId,
  type MessageView,
  messageViewSchema,
  type StoredContent,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { Problem } from '../../problems.ts'
import { refuseBody } from '../../refuse-body.ts'
import type { MessageRouteOptions } from './index.ts'
import { idParams, knownId, readMessage, readRow } from './look-up.ts'

const resolveSchema = z.strictObject({
  as: z.enum(['submitted', 'failed', 'resend']).meta({
    description: 'It arrived; it did not and shall not; send it again (the recipient may get it twice)',
  }),
})

export function decisionRoutes(app: App, { storage }: MessageRouteOptions): void {
  const { ledger, lanes } = storage

  app.post(
    '/v1/messages/:id/cancel',
    {
      config: { scope: 'send' },
      preValidation: refuseBody,
      schema: {
        ...bearer,
        tags: ['messages'],
        summary: 'Cancel a message that is not being sent yet',
        params: idParams,
        response: { 200: messageViewSchema, ...refusals(400, 404, 409) },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const id = knownId(storage, request.params.id)
      const { changed, state, generation } = await ledger.endWaiting(id, 'cancelled')
      if (state === undefined) return cancelledRow(id)
      // Cancelling again, for example after a lost answer, finds what it wanted.
      if (!changed && state !== 'cancelled')
        throw new Problem('conflict', `The message is ${state}: it is too late to cancel it.`)
      if (changed) await removeJob(id, generation)
      return readMessage(storage, id)
    },
  )

  app.post(
    '/v1/messages/:id/resolve',
    {
      config: { scope: 'admin' },
      schema: {
        ...bearer,
        tags: ['messages'],
        summary: 'Decide a message whose outcome nobody knows',
        params: idParams,
        body: resolveSchema,
        response: { 200: messageViewSchema, ...refusals(400, 404, 409, 413, 415) },
      },
    },
    async (request) => {
      storage.mustBeOpen()
      const id = knownId(storage, request.params.id)
      const { as } = request.body
      const { changed, state, generation } = await ledger.resolve(id, as, false)
      if (!changed) {
        const { state: stands } = state === undefined ? await readRow(storage, id) : { state }
        throw new Problem('conflict', `The message is ${stands}, not uncertain: there is nothing to decide.`)
      }
      request.log.info({ message: id.text, as, by: request.caller?.name }, 'message.resolved')
      if (as === 'resend') await addJob(id, generation)
      return readMessage(storage, id)
    },
  )

  /**
   * What cancelling a campaign's row comes to: it is cancelled already, or only its campaign can be.
   * @throws {Problem} 404, 409
   */
  async function cancelledRow(id: MessageId): Promise<MessageView> {
    const row = await readRow(storage, id)
    if (row.state === 'cancelled') return row
    throw new Problem(
      'conflict',
      row.state === 'queued'
        ? `The message is a row of the campaign ${row.campaign_id} whose turn has not come: cancel or pause the campaign.`
        : `The message is ${row.state}: it is too late to cancel it.`,
    )
  }

  /** Best effort: a job that stays finds its message cancelled. */
  async function removeJob(id: MessageId, generation: number): Promise<void> {
    try {
      await lanes.get(ledger.accountOf(id)!)?.remove(jobIdOf(id, generation))
    } catch (error) {
      app.log.warn({ message: id.text, reason: (error as Error).message }, 'lane.remove_failed')
    }
  }

  /** Best effort: what is not on the lane is put there by the sweeper. */
  async function addJob(id: MessageId, generation: number): Promise<void> {
    try {
      const [record, content] = await Promise.all([ledger.read(id), ledger.content(id)])
      const lane = lanes.get(ledger.accountOf(id)!)
      if (!record || content === null || !lane) return
      const { message, priority } = JSON.parse(content) as StoredContent
      const { to, reference } = record
      await addToLane(lane, [{ id, generation, to, type: message.type, reference, priority, delayMs: 0 }])
    } catch (error) {
      app.log.warn(
        { message: id.text, reason: (error as Error).message },
        'lane.add_failed: the sweeper will add it',
      )
    }
  }
}
