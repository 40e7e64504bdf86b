/** What a receiver is told, as the contract has it: a Standard Webhooks message. */
import { createCampaignId } from '../campaigns/ids.ts'
import type { PostBack } from './outbox.ts'

/**
 * Absent where there is nothing to say, as in a message that is read back.
 * @param account its id
 * @returns the body: the same text at each try
 */
export function eventBody(account: string, postBack: PostBack): string {
  const { id, campaign, to, state, at, error, requestId, reference, data } = postBack
  return JSON.stringify({
    type: `message.${state}`,
    timestamp: new Date(at).toISOString(),
    data: {
      id: id.text,
      request_id: requestId,
      account,
      // A campaign and its messages have the same salt.
      campaign_id: campaign === 0 ? undefined : createCampaignId(id.account, campaign, id.salt).text,
      to,
      state,
      error: error ?? null,
      reference,
      post_back_data: data,
    },
  })
}
