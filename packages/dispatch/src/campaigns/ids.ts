/**
 * Campaign ids: `cmp_` and 16 hexadecimal digits that name the account, the campaign's number in it and a random
 * number. Its messages carry the same random number, so that a message id leads to its campaign.
 */
export interface CampaignId {
  /** As callers see it. */
  text: string
  /** The account's number in this Redis. */
  account: number
  /** From 1, in its account. */
  number: number
  /** 32 random bits, the same as in the ids of its messages. */
  salt: number
}

const pattern = /^cmp_([0-9a-f]{4})([0-9a-f]{8})([0-9a-f]{8})$/
const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0')

export const createCampaignId = (account: number, number: number, salt: number): CampaignId => ({
  text: `cmp_${hex(account, 4)}${hex(number, 8)}${hex(salt, 8)}`,
  account,
  number,
  salt,
})

/** @returns undefined for a text that is no campaign id. */
export function parseCampaignId(text: string): CampaignId | undefined {
  const [, account, number, salt] = pattern.exec(text) ?? []
  if (!account || !number || !salt) return undefined
  return createCampaignId(parseInt(account, 16), parseInt(number, 16), parseInt(salt, 16))
}
