/** How what the ledger is told becomes what its scripts are given, and what they answer becomes what it tells. */
import type { PostBack } from '../post-backs/outbox.ts'
import { parseMessageId, postBackId } from './ids.ts'
import { shortHash } from './keys.ts'
import { type MessageError, outcomeNumber, stateName, stateNumber } from './record.ts'
import type { Argument, Call, Reply } from './scripts.ts'
import type { Accepted, LedgerReceipt, NewMessage, Settled, Settlement, UnmatchedReceipt } from './types.ts'

export const asAccepted = ([state, due]: Reply): Accepted => ({
  state: Number(state) < 0 ? undefined : stateName(Number(state)),
  due: Number(due),
})

export const asCall = (message: NewMessage): Call => [
  message.id.text.slice(4),
  Number(message.to),
  message.sendAt ?? 0,
  message.expiresAt ?? 0,
  message.idempotent ? 1 : 0,
  message.content,
  message.reference ?? '',
  message.reference === undefined ? '' : shortHash(message.reference),
  message.campaign ?? 0,
  message.callback?.receiver ?? '',
  message.callback?.url === undefined ? '' : JSON.stringify([message.callback.url, message.callback.data]),
  message.type ?? '',
]

export const settleArguments = (settlement: Settlement): Argument[] => {
  const { requestId } = settlement
  return [
    settlement.attempt,
    outcomeNumber(settlement.outcome),
    Math.round(settlement.durationMs),
    settlement.code.slice(0, 40),
    stateNumber(settlement.state),
    Math.round(settlement.inMs ?? 0),
    settlement.counts ? 1 : 0,
    settlement.answered ? 2 : 0,
    requestId ?? '',
    requestId === undefined ? '' : shortHash(requestId),
    settlement.error ? errorFields(settlement.error) : '',
  ]
}

export const asSettled = ([result, state]: Reply): Settled => ({
  settled: result === 'settled',
  state: state ? stateName(Number(state)) : undefined,
})

export const receiptCall = (receipt: LedgerReceipt, account: number): Argument[] => {
  const { messageId, requestId = '', wamid = '', error } = receipt
  return [
    // Another account's message is none of this account's business.
    messageId?.account === account ? messageId.text.slice(4) : '',
    Math.round(receipt.at),
    receipt.status.slice(0, 40),
    receipt.state ? stateNumber(receipt.state) : 0,
    requestId,
    requestId && shortHash(requestId),
    wamid,
    wamid && shortHash(wamid),
    ...(receipt.state === 'failed' || error ? failureFields(error) : ['', '', '']),
    receipt.recipient ?? '',
    receipt.untimed ? 1 : 0,
  ]
}

const failureFields = (error: LedgerReceipt['error']) => [
  (error?.code ?? 'FAILED').slice(0, 60),
  error?.kind ?? 'other',
  (error?.message ?? 'The provider says that it could not be delivered.').slice(0, 300),
]

/** As scripts/receipts.lua keeps it. */
export type PennedReceipt = [
  at: number,
  status: string,
  state: number,
  requestId: string,
  wamid: string,
  wamidHash: string,
  code: string,
  kind: string,
  message: string,
  recipient: string,
  messageId: string,
  receivedAt: number,
]

export const asUnmatched = (penned: PennedReceipt): UnmatchedReceipt => {
  const [at, status, , requestId, wamid, , code, , message, recipient, messageId, receivedAt] = penned
  return {
    at: Number(at),
    receivedAt: Number(receivedAt),
    status,
    ...(requestId && { requestId }),
    ...(wamid && { wamid }),
    ...(messageId && { messageId: `msg_${messageId}` }),
    ...(recipient && { recipient }),
    ...(code && { error: { code, message } }),
  }
}

export const asPostBack = (reply: Reply): PostBack => {
  const [id, event, state, at, tries, first, receiver, to, campaign, requestId, reference, error, callback] =
    reply
  const [code, kind, message, place] = (error || []) as string[]
  const [url, data] = callback ? (JSON.parse(String(callback)) as [string, string | null]) : []
  const messageId = parseMessageId(`msg_${id}`)!
  return {
    id: messageId,
    event: Number(event),
    eventId: postBackId(messageId, Number(event)),
    state: stateName(Number(state)),
    at: Number(at),
    tries: Number(tries),
    ...(first && { firstTriedAt: Number(first) }),
    receiver: String(receiver),
    ...(url !== undefined && { url }),
    ...(data && { data }),
    to: String(to),
    campaign: Number(campaign),
    ...(requestId && { requestId: String(requestId) }),
    ...(reference && { reference: String(reference) }),
    ...(code && { error: { code, kind: kind!, message: message!, at: place as MessageError['at'] } }),
  }
}

export const errorFields = ({ code, kind, message, at }: MessageError) => [
  code.slice(0, 60),
  kind,
  message.slice(0, 300),
  at,
]

export const asChange = ([changed, state, generation]: Reply) => ({
  changed: changed === 1,
  state: state ? stateName(Number(state)) : undefined,
  generation: Number(generation),
})
