/**
 * Where post-backs wait. The ledger is the outbox: an event is written by the script that changes the message's state,
 * so that none is lost and none is told that did not happen.
 *
 * - post-back: one state change of one message, told to the caller's `post_back_url`.
 * - receiver: the origin of such a URL. What one receiver does holds up no other.
 * - dead: given up; it is listed, and sent again only by hand.
 */
import type { MessageId } from '../ledger/ids.ts'
import { shortHash } from '../ledger/keys.ts'
import type { MessageError, MessageState } from '../ledger/record.ts'

/** One that is due and was taken; times are milliseconds since 1970. */
export interface PostBack {
  id: MessageId
  /** Counts the events of a message, from 1. */
  event: number
  /** `evt_…`: the same at each try. */
  eventId: string
  state: MessageState
  /** When the state was reached. */
  at: number
  /** Those made before. */
  tries: number
  /** Absent before the first try has ended. */
  firstTriedAt?: number
  /** See {@link receiverOf}. */
  receiver: string
  /** Absent for a campaign's message: the campaign knows it. */
  url?: string
  /** The caller's `post_back_data`. */
  data?: string
  to: string
  /** Its campaign's number in the account; 0 for none. */
  campaign: number
  requestId?: string
  reference?: string
  error?: MessageError
}

/** One try and what follows from it. */
export interface PostBackSettlement {
  /** The status of the answer (`204`), or why there was none (`ETIMEDOUT`); at most 40 characters. */
  code: string
  durationMs: number
  next: 'delivered' | 'dead' | { inMs: number }
}

export interface PostBackOutbox {
  /**
   * Takes what is due, receivers with the earliest first. Who takes one has it alone for `leaseMs`; then it comes back
   * by itself, its taker being lost.
   * @param most of all receivers together
   * @param room of each receiver that stands here
   * @param roomForOthers of each receiver that does not
   */
  takePostBacks(
    account: string,
    most: number,
    room: Map<string, number>,
    roomForOthers: number,
    leaseMs: number,
  ): Promise<PostBack[]>
  /** Only when it is delivered or dead is the message's next event due. */
  settlePostBack(id: MessageId, event: number, settlement: PostBackSettlement): Promise<void>
  /** Milliseconds since 1970, by the clock of the times above. */
  now(): Promise<number>
}

/** @returns the name of the URL's receiver; the same for every URL of one origin @throws for what is no URL */
export const receiverOf = (url: string): string => shortHash(new URL(url).origin)
