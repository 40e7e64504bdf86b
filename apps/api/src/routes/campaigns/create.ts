/** `POST /v1/campaigns`: a draft, to which recipients can be uploaded. */
import {
  type Account,
  type CampaignDefinition,
  type CampaignRequest,
  campaignRequestSchema,
  compileTemplate,
  fingerprintOf,
  parseCampaignId,
} from '@wa-dispatch/dispatch'
import { type Provider, providers } from '@wa-dispatch/providers'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import type { FieldError } from '../../problems.ts'
import { pathOf, refuse } from '../../validation.ts'
import { keyOf, once } from '../messages/idempotency-key.ts'
import { type CampaignRouteOptions, changedSchema } from './index.ts'

const ROUTE = 'POST /v1/campaigns'
const LONGEST_WAIT_MS = 365 * 86_400_000

interface Created {
  id: string
  state: 'draft'
}

export function createRoute(app: App, { storage, postBacks }: CampaignRouteOptions): void {
  const { accounts, campaigns, idempotency } = storage

  app.post(
    '/v1/campaigns',
    {
      config: { scope: 'send' },
      schema: {
        ...bearer,
        tags: ['campaigns'],
        summary: 'Make a campaign',
        description:
          'A draft: upload its recipients, then start it. With `send_at` it waits for that time once it was started. ' +
          'Takes an `Idempotency-Key` header: the same key and body give the same answer again.',
        body: campaignRequestSchema,
        response: {
          201: changedSchema.extend({ state: z.literal('draft') }),
          ...refusals(400, 413, 415, 422),
        },
      },
    },
    async (request, reply) => {
      storage.mustBeOpen()
      const { body } = request
      const key = keyOf(request)
      const errors = check(body, accounts)
      if (body.post_back_url !== undefined) errors.push(...(await postBacks(body.post_back_url)))
      if (errors.length && !(key !== undefined && (await wasMade(request.caller!.name, key, body)))) {
        throw refuse(errors)
      }
      const answer = await once<Created>(request, reply, key, {
        idempotency,
        route: ROUTE,
        body,
        createIds: async () => [(await campaigns.reserve(body.account)).text],
        async answer([id]) {
          const made = await campaigns.create(definitionOf(body), parseCampaignId(id!))
          return { id: made.text, state: 'draft' }
        },
        final: () => true,
      })
      return reply.code(201).send(answer)
    },
  )

  /** What was fit when it was made may be past its `expires_at` when it is repeated. */
  async function wasMade(owner: string, key: string, body: unknown): Promise<boolean> {
    return (await idempotency.find(owner, key, fingerprintOf(ROUTE, body)))?.kind === 'repeat'
  }
}

/** What the schema cannot see: the account, what its provider can carry, and the times. */
function check(request: CampaignRequest, accounts: ReadonlyMap<string, Account>): FieldError[] {
  const account = accounts.get(request.account)
  if (!account) {
    const known = [...accounts.keys()].join(', ')
    return [{ path: 'account', message: `there is no account "${request.account}"; there are: ${known}` }]
  }
  const compiled = compileTemplate(request.message, providerOf(account))
  const issues = 'issues' in compiled ? compiled.issues : []
  return [
    ...issues.map(({ path, message }) => ({ path: pathOf(['message', ...path]), message })),
    ...checkTimes(request, Date.now()),
  ]
}

/** As for single messages. */
function checkTimes({ send_at: sendAt, expires_at: expiresAt }: CampaignRequest, now: number): FieldError[] {
  const errors: FieldError[] = []
  if (sendAt && sendAt.getTime() > now + LONGEST_WAIT_MS) {
    errors.push({ path: 'send_at', message: 'is more than a year away' })
  }
  if (expiresAt && expiresAt.getTime() <= Math.max(now, sendAt?.getTime() ?? 0)) {
    const message = sendAt ? 'must be after send_at and now' : 'must be in the future'
    errors.push({ path: 'expires_at', message })
  }
  return errors
}

export const providerOf = ({ provider }: Account): Provider =>
  providers[provider as keyof typeof providers] as Provider

function definitionOf({
  send_at: sendAt,
  expires_at: expiresAt,
  post_back_url: postBackUrl,
  ...rest
}: CampaignRequest): CampaignDefinition {
  return { ...rest, sendAt: sendAt?.getTime(), expiresAt: expiresAt?.getTime(), postBackUrl }
}
