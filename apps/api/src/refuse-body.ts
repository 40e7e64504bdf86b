/** For addresses that take no body: what somebody sends there is a misunderstanding that should be told. */
import type { FastifyRequest } from 'fastify'
import { refuse } from './validation.ts'

/** An empty object counts as nothing: some clients cannot send less. */
export async function refuseBody({ body }: FastifyRequest): Promise<void> {
  if (body === undefined || body === null) return
  const fields = typeof body === 'object' && !Array.isArray(body) ? Object.keys(body) : ['']
  if (fields.length === 0) return
  throw refuse(
    fields
      .slice(0, 50)
      .map((path) => ({ path, message: path ? 'this field is not known here' : 'no body is expected' })),
  )
}
