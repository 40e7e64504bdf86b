/**
 * Where everything lies in Redis. All keys of one account share the hash tag `{n}`, n being the account's number,
 * so that a script works on one node of a cluster, and so that keys are short.
 *
 * | key            | type   | holds |
 * |----------------|--------|-------|
 * | wa:accounts    | hash   | account id → its number |
 * | wa:{n}:n       | string | the next free sequence number |
 * | wa:{n}:b:…     | hash   | a bucket: 16 messages, a few small fields each (record.ts), so that it stays a listpack; named by their sequence numbers without the last digit |
 * | wa:{n}:c:…     | string | content and callbacks of one message that is not final |
 * | wa:{n}:w       | zset   | messages that wait (scheduled, queued, retrying) by the time they are due |
 * | wa:{n}:s       | zset   | messages being sent, by the time at which their claim is given up for lost |
 * | wa:{n}:u       | zset   | uncertain messages, by the time at which the account's rule decides; +inf when held |
 * | wa:{n}:x       | zset   | messages that wait and expire, by that time |
 * | wa:{n}:q:day:… | hash   | request ids and wamids learned on that day (since 1970): hash → sequence number, few in each |
 * | wa:{n}:f:…     | zset   | hash of a reference → message ids by time |
 * | wa:{n}:i       | stream | receipts that came in, as they are (receipts/queue.ts) |
 * | wa:{n}:h       | hash   | the pen: hash of a request id or wamid → receipts that match no message so far |
 * | wa:{n}:hz      | zset   | the same hashes by time; wa:{n}:hn numbers those that name neither |
 * | wa:{n}:y:…     | string | where and with what the caller of a single message is told what becomes of it |
 * | wa:{n}:p:…     | zset   | a receiver's messages with events to tell, by the time they are due |
 * | wa:{n}:pr      | zset   | receivers by the time that their first one is due |
 * | wa:{n}:pz      | zset   | dead letters: events that were given up, `id.event`, by that time |
 * | wa:{n}:ra      | zset   | messages that the provider is to be asked about, by the time at which it is (reconcile/questions.ts) |
 * | wa:{n}:rt      | string | while it is there, nobody asks about another one: messages wait |
 * | wa:{n}:rr      | hash   | reconciliation: what the last run found, where one that goes on stands (reconcile/account-run.ts) |
 * | wa:{n}:kn      | string | the number of the newest campaign |
 * | wa:{n}:kl      | zset   | campaigns, `number:salt`, by their number |
 * | wa:{n}:ks      | hash   | a campaign's salt → its number |
 * | wa:{n}:ka      | set    | numbers of campaigns that the feeder has something to do for |
 * | wa:{n}:k:no    | hash   | a campaign: what it is, its state, counts per state, cursors (campaigns/campaign.ts) |
 * | wa:{n}:k:no:w  | zset   | its messages that wait, as in wa:{n}:w |
 * | wa:{n}:k:no:r:…| string | a chunk: up to 512 rows, packed (campaigns/chunk.ts) |
 * | wa:{n}:k:no:c  | zset   | its chunks by their first sequence number |
 * | wa:{n}:k:no:d:…| set    | its recipients, a few in each, so that it stays an intset |
 * | wa:{n}:k:no:e  | hash   | refused rows: reason → how many |
 * | wa:{n}:k:no:i:…| hash   | an upload under an Idempotency-Key: number of its chunk → what became of it |
 * | wa:names:…     | zset   | hash of a campaign's name → campaigns by creation |
 * | wa:feed        | string | which process feeds at the moment |
 * | wa:l:{…}:…     |        | the limiter's and the breaker's (limiter/common.lua) |
 * | wa:{n}:t:…     | string | attempts made in one second, kept for a minute |
 * | wa:{n}:m       | hash   | what all workers have counted (totals.ts) |
 * | wa:idem:…      | string | an Idempotency-Key with the ids reserved for it and, later, the answer |
 * | wa:sweep       | string | which process sweeps at the moment |
 * | wa:reconcile   | string | which process reconciles at the moment |
 * | wa:lane:{n}:…  |        | BullMQ's own keys of the lane |
 */
import { hash } from 'node:crypto'

export const accountsKey = 'wa:accounts'
export const sweepKey = 'wa:sweep'
export const feedKey = 'wa:feed'
export const reconcileKey = 'wa:reconcile'
export const campaignNameKey = (name: string) => `wa:names:${shortHash(name)}`

/** 66 bits: the record itself holds the whole text and is compared. */
export const shortHash = (text: string) => hash('sha256', text, 'base64url').slice(0, 11)

/** Everything of an account begins with this. @param account its number */
export const accountTag = (account: number) => `wa:{${account}}`

const known = new Map<number, AccountKeys>()

/** @param account the account's number */
export function accountKeys(account: number): AccountKeys {
  let keys = known.get(account)
  if (!keys) {
    keys = makeKeys(account)
    known.set(account, keys)
  }
  return keys
}

function makeKeys(account: number) {
  const tag = accountTag(account)
  return {
    sequence: `${tag}:n`,
    waiting: `${tag}:w`,
    sending: `${tag}:s`,
    uncertain: `${tag}:u`,
    expiring: `${tag}:x`,
    totals: `${tag}:m`,
    rate: (second: number) => `${tag}:t:${second}`,
    bucket: (bucket: string) => `${tag}:b:${bucket}`,
    content: (id: string) => `${tag}:c:${id.slice(4)}`,
    /** @param day since 1970, UTC @param place from {@link requestIdPlace} */
    requestIds: (day: number, place: string) => `${tag}:q:${day}:${place}`,
    receipts: `${tag}:i`,
    pen: `${tag}:h`,
    penByTime: `${tag}:hz`,
    callback: (id: string) => `${tag}:y:${id.slice(4)}`,
    deadPostBacks: `${tag}:pz`,
    receivers: `${tag}:pr`,
    questions: `${tag}:ra`,
    questionTurn: `${tag}:rt`,
    reconciliation: `${tag}:rr`,
    newestCampaign: `${tag}:kn`,
    campaigns: `${tag}:kl`,
    campaignSalts: `${tag}:ks`,
    activeCampaigns: `${tag}:ka`,
    /** @param number the campaign's */
    campaign: (number: number) => `${tag}:k:${number}`,
    reference: (reference: string) => `${tag}:f:${shortHash(reference)}`,
  }
}

export type AccountKeys = ReturnType<typeof makeKeys>

/**
 * Where a day's index holds a request id: 4,096 hashes, so that a hash of a hundred thousand messages a day and one of
 * half a million are both listpacks (hash-max-listpack-entries is 128 by default), at under 40 bytes a message.
 */
export function requestIdPlace(requestId: string): { place: string; field: string } {
  const digits = shortHash(requestId)
  return { place: digits.slice(0, 2), field: digits.slice(2) }
}

/** The account's lists of messages that are not final. */
export const listKeys = (keys: AccountKeys): string[] => [
  keys.waiting,
  keys.sending,
  keys.uncertain,
  keys.expiring,
]

/** BullMQ's prefix for the lane of this account. */
export const lanePrefix = (account: number) => `wa:lane:{${account}}`

export const idempotencyKey = (owner: string, key: string) =>
  `wa:idem:${hash('sha256', `${owner}\n${key}`, 'base64url')}`
