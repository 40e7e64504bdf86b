/** bull-board behind a login: every lane with its jobs and why they failed, to be read and not to be changed. */
import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { FastifyAdapter } from '@bull-board/fastify'
import cookie from '@fastify/cookie'
import formBody from '@fastify/formbody'
import { type LaneJob, maskPhone } from '@wa-dispatch/dispatch'
import type { App } from '../app.ts'
import type { ApiKey } from '../config.ts'
import { asProblem, PROBLEM_TYPE, Problem } from '../problems.ts'
import type { Headers } from '../security-headers.ts'
import type { Storage } from '../storage.ts'
import { loginRoutes } from './login.ts'
import { readSession, SESSION_COOKIE } from './session.ts'

export interface DashboardOptions {
  storage: Storage
  keys: readonly ApiKey[]
  authenticates: boolean
  headers: Headers
}

const BASE = '/dashboard'

/** bull-board's page asks for fonts elsewhere; nothing here tells others that it is being looked at. */
const FOREIGN_FONTS = /\s*<link href="https:\/\/fonts\.googleapis\.com[^>]*>/g

export async function dashboard(
  parent: App,
  { storage, keys, authenticates, headers }: DashboardOptions,
): Promise<void> {
  await parent.register(cookie)
  await parent.register(formBody)
  parent.addHook('onRequest', async (_request, reply) => void reply.headers(headers))

  const login = async (app: App) => loginRoutes(app, keys)
  if (authenticates) await parent.register(login, { prefix: BASE })

  await parent.register(
    async (app: App) => {
      app.addHook('onRequest', async (request, reply) => {
        const isApi = request.url.startsWith(`${BASE}/api`)
        if (authenticates && !readSession(request.cookies[SESSION_COOKIE], keys)) {
          if (isApi) throw new Problem('unauthorized', 'Log in at /dashboard/login.')
          return reply.redirect(`${BASE}/login`, 303)
        }
        if (request.method !== 'GET' && request.method !== 'HEAD') {
          throw new Problem('method-not-allowed', 'The dashboard only shows.')
        }
        if (isApi) storage.mustBeOpen()
      })
      app.addHook('onSend', async (_request, reply, payload) => {
        if (reply.statusCode >= 400) reply.type(PROBLEM_TYPE)
        else if (typeof payload === 'string') return payload.replace(FOREIGN_FONTS, '')
        return payload
      })
      await app.register(board(storage, authenticates) as never)
    },
    { prefix: BASE },
  )
}

function board(storage: Storage, authenticates: boolean) {
  const adapter = new FastifyAdapter()
  adapter.setBasePath(BASE)
  const { replaceQueues } = createBullBoard({
    queues: [],
    serverAdapter: adapter,
    options: {
      uiConfig: {
        boardTitle: 'wa-dispatch',
        hideDocsLink: true,
        miscLinks: [
          { text: 'API', url: '/docs' },
          ...(authenticates ? [{ text: 'Log out', url: `${BASE}/logout` }] : []),
        ],
      },
    },
  })
  adapter.setErrorHandler((error) => {
    const problem = asProblem(error)
    return { status: problem.statusCode as 500, body: problem.toJSON() as never }
  })
  storage.onLanes(() => {
    replaceQueues(
      [...storage.lanes].map(([account, lane]) => {
        const adapter = new BullMQAdapter(lane, {
          readOnlyMode: true,
          allowRetries: false,
          description: String(storage.accounts.get(account)?.provider ?? ''),
        })
        adapter.setFormatter('data', (data: LaneJob) => ({ ...data, to: maskPhone(data.to) }))
        return adapter
      }),
    )
  })
  return adapter.registerPlugin()
}
