/** The worker's environment. */
import {
  port,
  postBackEnvironment,
  readEnvironment,
  sharedEnvironment,
  wholeNumber,
  workerReconcileEnvironment,
} from '@wa-dispatch/dispatch'
import { z } from 'zod'

/** @throws {ConfigurationError} */
export function readConfig(env: NodeJS.ProcessEnv) {
  const values = readEnvironment(
    {
      ...sharedEnvironment,
      ...postBackEnvironment,
      ...workerReconcileEnvironment,
      WORKER_HOST: z.string().min(1).default('127.0.0.1'),
      WORKER_PORT: port(3001),
      WORKER_CONCURRENCY: wholeNumber(100, 1, 10_000),
      WORKER_STALL_SECONDS: wholeNumber(30, 1, 86_400),
    },
    env,
  )
  return {
    redisUrl: values.REDIS_URL,
    accountsFile: values.ACCOUNTS_FILE,
    retentionDays: values.RETENTION_DAYS,
    logLevel: values.LOG_LEVEL,
    /** Of post-backs; absent: none are sent. */
    signer: values.POST_BACK_SECRET,
    postBackAllow: values.POST_BACK_ALLOW,
    reconcile: {
      afterMs: values.RECONCILE_AFTER_HOURS * 3_600_000,
      /** 0: never. */
      everyMs: values.RECONCILE_EVERY_MINUTES * 60_000,
    },
    host: values.WORKER_HOST,
    port: values.WORKER_PORT,
    /** Attempts in flight, all lanes together. */
    concurrency: values.WORKER_CONCURRENCY,
    /** A lane with work of which nothing is taken for so long makes the worker unready, and twice as long ends it. */
    stallSeconds: values.WORKER_STALL_SECONDS,
  }
}
