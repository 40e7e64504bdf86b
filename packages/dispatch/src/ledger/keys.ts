/**
 * Where everything lies in Redis. All keys of one account share the hash tag `{n}`, n being the account's number,
 * so that a script works on one node of a cluster, and so that keys are short.
 *
 * | key            | type   | holds |
 * |----------------|--------|-------|
 * | wa:accounts    | hash   | account id → its number |
 * | wa:{n}:n       | string | the next free sequence number |
 * | wa:{n}:b:…     | hash   | a bucket: 16 messages, a few small fields each (record.ts), so that it stays a listpack |
 * | wa:{n}:c:…     | string | content and callbacks of one message that is not final |
 * | wa:{n}:w       | zset   | messages that wait (scheduled, queued, retrying) by the time they are due |
 * | wa:{n}:s       | zset   | messages being sent, by the time at which their claim is given up for lost |
 * | wa:{n}:u       | zset   | uncertain messages, by the time at which the account's rule decides; +inf when held |
 * | wa:{n}:x       | zset   | messages that wait and expire, by that time |
 * | wa:{n}:q:…     | string | hash of a request id → sequence number |
 * | wa:{n}:f:…     | zset   | hash of a reference → message ids by time |
 * | wa:{n}:l       | string | the limiter's next free instant, microseconds |
 * | wa:{n}:t:…     | string | attempts made in one second, kept for a minute |
 * | wa:{n}:m       | hash   | what all workers have counted (totals.ts) |
 * | wa:idem:…      | string | an Idempotency-Key with the ids reserved for it and, later, the answer |
 * | wa:sweep       | string | which process sweeps at the moment |
 * | wa:lane:{n}:…  |        | BullMQ's own keys of the lane |
 */
import { hash } from 'node:crypto'

export const accountsKey = 'wa:accounts'
export const sweepKey = 'wa:sweep'

const short = (text: string) => hash('sha256', text, 'base64url').slice(0, 11)

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
  const tag = `wa:{${account}}`
  return {
    sequence: `${tag}:n`,
    waiting: `${tag}:w`,
    sending: `${tag}:s`,
    uncertain: `${tag}:u`,
    expiring: `${tag}:x`,
    limiter: `${tag}:l`,
    totals: `${tag}:m`,
    rate: (second: number) => `${tag}:t:${second}`,
    bucket: (bucket: string) => `${tag}:b:${bucket}`,
    content: (id: string) => `${tag}:c:${id.slice(4)}`,
    /** 66 bits of hash: the record itself holds the whole request id and is compared. */
    requestId: (requestId: string) => `${tag}:q:${short(requestId)}`,
    reference: (reference: string) => `${tag}:f:${short(reference)}`,
  }
}

export type AccountKeys = ReturnType<typeof makeKeys>

/** The account's lists: the first keys of every script, in the order of scripts/record.lua. */
export const sharedKeys = (keys: AccountKeys): string[] => [
  keys.waiting,
  keys.sending,
  keys.uncertain,
  keys.expiring,
]

/** BullMQ's prefix for the lane of this account. */
export const lanePrefix = (account: number) => `wa:lane:{${account}}`

export const idempotencyKey = (owner: string, key: string) =>
  `wa:idem:${hash('sha256', `${owner}\n${key}`, 'base64url')}`
