/** What API and worker read of the environment for reconciliation. */
import { z } from 'zod'
import { wholeNumber } from '../environment.ts'

const MOST_HOURS = 8_760

export const reconcileEnvironment = {
  /** A message that was submitted so many hours ago and has no receipt is unheard. */
  RECONCILE_AFTER_HOURS: z
    .string()
    .regex(/^\d+(\.\d+)?$/, 'must be a number of hours')
    .transform(Number)
    .refine((value) => value <= MOST_HOURS, `must be at most ${MOST_HOURS}`)
    .default(24),
}

export const workerReconcileEnvironment = {
  ...reconcileEnvironment,
  /** 0: only when somebody asks for it. */
  RECONCILE_EVERY_MINUTES: wholeNumber(60, 0, 10_080),
}
