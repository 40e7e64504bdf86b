/** Fault rules: `PUT` replaces all, `POST` appends one. */
import { z } from 'zod'
import type { World } from '../exchange.ts'
import { faultSchema } from '../faults/schema.ts'
import type { TypedApp } from './typed.ts'

const replacement = z
  .strictObject({ faults: z.array(faultSchema).max(1000) })
  .superRefine(({ faults }, context) => {
    const ids = faults.flatMap(({ id }) => id ?? [])
    if (new Set(ids).size < ids.length)
      context.addIssue({ code: 'custom', path: ['faults'], message: 'ids must differ' })
  })

export function faultRoutes(app: TypedApp, { faults }: World): void {
  app.get('/simulator/faults', () => ({ faults: faults.list() }))

  app.put('/simulator/faults', { schema: { body: replacement } }, (request) => {
    faults.clear()
    for (const rule of request.body.faults) faults.add(rule)
    return { faults: faults.list() }
  })

  app.post('/simulator/faults', { schema: { body: faultSchema } }, async (request, reply) => {
    reply.code(201)
    return faults.add(request.body)
  })

  app.delete('/simulator/faults', (_request, reply) => {
    faults.clear()
    reply.code(204).send()
  })

  app.delete(
    '/simulator/faults/:id',
    { schema: { params: z.object({ id: z.string() }) } },
    (request, reply) => {
      if (faults.remove(request.params.id)) reply.code(204).send()
      else reply.code(404).send({ statusCode: 404, message: 'There is no such rule' })
    },
  )
}
