/** The control API under `/simulator`: what came in, faults, accounts, receipts, reset. */
import type { FastifyInstance } from 'fastify'
import {
  hasZodFastifySchemaValidationErrors,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { World } from '../exchange.ts'
import { accountRoutes } from './accounts.ts'
import { faultRoutes } from './faults.ts'
import { receiptRoutes } from './receipts.ts'
import { requestRoutes } from './requests.ts'

/** What every part of the control API works on. */
export interface Control {
  world: World
  /** Back to how the simulator started, with another seed where one is given. */
  reset: (seed?: number) => void
}

export async function controlRoutes(app: FastifyInstance, control: Control): Promise<void> {
  app.setValidatorCompiler(validatorCompiler)
  app.setErrorHandler((error, _request, reply) => {
    if (!hasZodFastifySchemaValidationErrors(error)) throw error
    const errors = error.validation.map(({ instancePath, message }) => ({
      path: instancePath.slice(1).replaceAll('/', '.'),
      message,
    }))
    reply.code(400).send({ statusCode: 400, message: 'This does not fit', errors })
  })
  const typed = app.withTypeProvider<ZodTypeProvider>()
  typed.post(
    '/simulator/reset',
    {
      schema: {
        body: z.strictObject({ seed: z.number().int().min(0).max(0xffff_ffff).optional() }).nullish(),
      },
    },
    (request, reply) => {
      control.reset(request.body?.seed)
      reply.code(204).send()
    },
  )
  requestRoutes(typed, control.world)
  faultRoutes(typed, control.world)
  accountRoutes(typed, control.world)
  receiptRoutes(typed, control.world)
}
