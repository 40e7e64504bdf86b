/** Registered accounts: their credentials, balance and rate limit. */
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import type { Account } from '../accounts/accounts.ts'
import { accountSettingsSchema, credentialIssues } from '../accounts/schema.ts'
import type { World } from '../exchange.ts'
import { providerNames } from '../systems/system.ts'
import type { TypedApp } from './typed.ts'

const params = z.object({ provider: z.enum(providerNames), account: z.string().min(1).max(100) })
const path = '/simulator/accounts/:provider/:account'

export function accountRoutes(app: TypedApp, { accounts }: World): void {
  app.get('/simulator/accounts', () => ({ accounts: accounts.list().map(view) }))

  app.get(path, { schema: { params } }, (request, reply) => {
    show(reply, accounts.find(request.params.provider, request.params.account))
  })

  // Registers it, or sets it anew: what is left out is unset.
  app.put(path, { schema: { params, body: accountSettingsSchema } }, (request, reply) => {
    if (misfit(reply, request.params.provider, request.body.credentials)) return
    show(reply, accounts.put({ ...request.params, ...request.body }))
  })

  // Changes only what is given.
  app.patch(path, { schema: { params, body: accountSettingsSchema } }, (request, reply) => {
    const { provider, account } = request.params
    if (misfit(reply, provider, request.body.credentials)) return
    show(reply, accounts.change(provider, account, request.body))
  })

  app.delete(path, { schema: { params } }, (request, reply) => {
    if (accounts.remove(request.params.provider, request.params.account)) reply.code(204).send()
    else show(reply, undefined)
  })

  app.post(
    `${path}/refill`,
    { schema: { params, body: z.strictObject({ amount: z.number().int().min(1) }) } },
    (request, reply) => {
      const entry = accounts.find(request.params.provider, request.params.account)
      if (entry !== undefined) entry.balance = (entry.balance ?? 0) + request.body.amount
      show(reply, entry)
    },
  )

  for (const [verb, revoked] of [
    ['revoke', true],
    ['restore', false],
  ] as const) {
    app.post(`${path}/${verb}`, { schema: { params } }, (request, reply) => {
      const entry = accounts.find(request.params.provider, request.params.account)
      if (entry !== undefined) entry.revoked = revoked
      show(reply, entry)
    })
  }
}

function show(reply: FastifyReply, entry: Account | undefined): void {
  if (entry === undefined) reply.code(404).send({ statusCode: 404, message: 'There is no such account' })
  else reply.send(view(entry))
}

function misfit(reply: FastifyReply, provider: Account['provider'], credentials: unknown): boolean {
  const issues = credentialIssues(provider, credentials)
  if (issues.length === 0) return false
  const errors = issues.map(({ path, message }) => ({ path: ['credentials', ...path].join('.'), message }))
  reply.code(400).send({ statusCode: 400, message: 'This does not fit', errors })
  return true
}

function view({ provider, account, credentials, revoked, balance, rateLimit, receipts }: Account) {
  const limits = { balance: balance ?? null, rateLimit: rateLimit ?? null }
  return { provider, account, credentials, revoked, ...limits, ...receipts }
}
