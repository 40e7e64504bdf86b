/** Where the rivals' jobs lie, in the same Redis as ours. */
export const rivalQueue = 'script'

/** A job of the rivals: what one would put into it. */
export interface DispatchJob {
  to: string
  message: Record<string, unknown>
}

/** A queue with a limit, and whom it sends as. */
export interface LimitedQueue {
  name: string
  sender: string
  perSecond: number
}
