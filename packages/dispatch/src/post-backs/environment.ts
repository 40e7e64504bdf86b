/** What API and worker read of the environment for post-backs. */
import { z } from 'zod'
import { AllowList, parseAllowList } from './allow-list.ts'
import { createSigner, type Signer } from './sign.ts'

export const postBackEnvironment = {
  /** Absent: messages with a `post_back_url` are refused. */
  POST_BACK_SECRET: z
    .string()
    .transform((text, context): Signer => {
      const signer = createSigner(text)
      if (typeof signer !== 'string') return signer
      context.addIssue({ code: 'custom', message: signer })
      return z.NEVER
    })
    .optional(),
  POST_BACK_ALLOW: z
    .string()
    .transform((text, context): AllowList => {
      const { list, faults } = parseAllowList(text)
      for (const message of faults) context.addIssue({ code: 'custom', message })
      return list
    })
    .default(() => new AllowList()),
}
