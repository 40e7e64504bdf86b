/** `POST /v1/campaigns/:id/{start,pause,resume,cancel,retry}`. */
import type { ActionResult, CampaignState } from '@wa-dispatch/dispatch'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { noSuchCampaign, Problem } from '../../problems.ts'
import { refuseBody } from '../../refuse-body.ts'
import { keyOf, once } from '../messages/idempotency-key.ts'
import { findCampaign } from './find-campaign.ts'
import { type CampaignRouteOptions, campaignParams, changedSchema } from './index.ts'

type Changed = z.infer<typeof changedSchema>

interface Action {
  summary: string
  description: string
  /** States in which it has happened already: asking again, for example after a lost answer, finds what it wanted. */
  done: readonly CampaignState[]
}

const ACTIONS = {
  start: {
    summary: 'Start a campaign',
    description: 'It runs, or is `scheduled` until its `send_at`. Recipients can still be uploaded.',
    done: ['scheduled', 'running'],
  },
  pause: {
    summary: 'Pause a campaign',
    description: 'Nothing more is sent from a second later on, but for what is in flight.',
    done: ['paused'],
  },
  resume: {
    summary: 'Go on with a paused campaign',
    description: 'It runs again, or is `scheduled` when its `send_at` is still to come.',
    done: ['scheduled', 'running'],
  },
  cancel: {
    summary: 'Cancel a campaign for good',
    description: 'What was not sent becomes `cancelled`; what is in flight ends as it ends.',
    done: ['cancelled'],
  },
} as const satisfies Record<string, Action>

/** What can be done in a state, for whoever asked for something else. */
const POSSIBLE: Record<CampaignState, string> = {
  draft: 'upload recipients, start it or cancel it',
  scheduled: 'it can be paused or cancelled',
  running: 'it can be paused or cancelled, and its failed messages can be retried',
  paused: 'it can be resumed or cancelled, and its failed messages can be retried',
  finished: 'its failed messages can be retried',
  cancelled: 'that is for good; make another campaign',
}

const retrySchema = z
  .strictObject({
    codes: z
      .array(z.string().min(1).max(60))
      .min(1)
      .max(100)
      .optional()
      .meta({ description: 'Only messages that failed with one of these', examples: [['E110']] }),
  })
  .nullish()

const KEYED = 'Takes an `Idempotency-Key` header: a repeat under the same key changes nothing more.'

export function controlRoutes(app: App, { storage }: CampaignRouteOptions): void {
  const { campaigns, idempotency } = storage

  for (const [name, { summary, description, done }] of Object.entries(ACTIONS) as [
    keyof typeof ACTIONS,
    Action,
  ][]) {
    app.post(
      `/v1/campaigns/:id/${name}`,
      {
        config: { scope: 'send' },
        preValidation: refuseBody,
        schema: {
          ...bearer,
          tags: ['campaigns'],
          summary,
          description: `${description} ${KEYED}`,
          params: campaignParams,
          response: { 200: changedSchema, ...refusals(400, 404, 409, 422) },
        },
      },
      (request, reply) => change(request, reply, name, done),
    )
  }

  app.post(
    '/v1/campaigns/:id/retry',
    {
      config: { scope: 'send' },
      schema: {
        ...bearer,
        tags: ['campaigns'],
        summary: 'Send failed messages again',
        description:
          'With `codes` only those that failed with one of them, with an empty object or no body every failed one. ' +
          `A finished campaign runs again. As often as wanted. ${KEYED}`,
        params: campaignParams,
        body: retrySchema,
        response: { 200: changedSchema, ...refusals(400, 404, 409, 413, 415, 422) },
      },
    },
    (request, reply) => change(request, reply, 'retry', [], request.body?.codes),
  )

  async function change(
    request: FastifyRequest,
    reply: FastifyReply,
    action: keyof typeof ACTIONS | 'retry',
    done: readonly CampaignState[],
    codes?: string[],
  ): Promise<Changed> {
    storage.mustBeOpen()
    const key = keyOf(request)
    const { id } = await findCampaign(storage, (request.params as { id: string }).id)
    return once<Changed>(request, reply, key, {
      idempotency,
      route: `POST /v1/campaigns/${id.text}/${action}`,
      body: codes ?? null,
      createIds: async () => [],
      async answer() {
        const { result, state } = await campaigns.act(id, action, codes)
        if (state === undefined) throw noSuchCampaign()
        if (result !== 'done' && !done.includes(state)) throw refusal(action, result, state)
        if (result === 'done') {
          request.log.info(
            { campaign: id.text, state, codes, by: request.caller?.name },
            `campaign.${action}`,
          )
        }
        return { id: id.text, state }
      },
      final: () => true,
    })
  }
}

function refusal(action: string, result: ActionResult['result'], state: CampaignState): Problem {
  const reasons: Partial<Record<ActionResult['result'], string>> = {
    empty: 'The campaign has no recipients yet: upload some, then start it.',
    over: 'The campaign cannot be started: its expires_at is over.',
  }
  const other = `The campaign is ${state}, so there is nothing to ${action}: ${POSSIBLE[state]}.`
  return new Problem('conflict', reasons[result] ?? other)
}
