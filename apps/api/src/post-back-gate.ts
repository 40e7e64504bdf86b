/** Which `post_back_url`s are taken: none while nobody could sign, and none that must not be reached. */
import { type AllowList, ReceiverGuard, type Signer } from '@wa-dispatch/dispatch'
import type { FieldError } from './problems.ts'

/** @returns what is wrong with the address, empty when it will do */
export type PostBackGate = (url: string) => Promise<FieldError[]>

export interface PostBackGateOptions {
  /** Absent: there is no secret to sign with. */
  signer: Signer | undefined
  allow: AllowList
}

export function createPostBackGate({ signer, allow }: PostBackGateOptions): PostBackGate {
  const guard = new ReceiverGuard(allow)
  return async (url) => {
    const message = signer
      ? await guard.check(url)
      : 'cannot be told anything: POST_BACK_SECRET is not set, and post-backs are never sent unsigned'
    return message === undefined ? [] : [{ path: 'post_back_url', message }]
  }
}
