export * from './ids.ts'
export { accountsKey, feedKey, idempotencyKey, lanePrefix, reconcileKey, sweepKey } from './keys.ts'
export * from './ledger.ts'
export {
  type MessageError,
  type MessageRecord,
  type MessageState,
  OUTCOMES,
  type OutcomeName,
  type PostBackRecord,
  STATES,
  WAITING,
} from './record.ts'
export * from './types.ts'
