/** Addresses that are not there (404), and addresses that are, but take another method (405 with `Allow`). */
import type { App } from './app.ts'
import { Problem, sendProblem } from './problems.ts'

export function refuseUnknownRoutes(app: App): void {
  const known: { pattern: RegExp; methods: Set<string> }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    if (url.includes('*')) return
    const pattern = new RegExp(`^${url.replace(/[.\\]/g, '\\$&').replace(/:[A-Za-z]+/g, '[^/]+')}$`)
    known.push({ pattern, methods: new Set(Array.isArray(method) ? method : [method]) })
  })
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]!
    const allowed = new Set(
      known.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => [...methods]),
    )
    if (allowed.size === 0) return sendProblem(reply, new Problem('not-found', 'Nothing is at this address.'))
    const allow = [...allowed].sort().join(', ')
    reply.header('allow', allow)
    return sendProblem(reply, new Problem('method-not-allowed', `This address takes ${allow}.`))
  })
}
