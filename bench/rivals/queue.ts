/** Where the rivals' jobs lie, in the same Redis as ours. */
export const rivalQueue = 'script'

/** A job of the rivals: what one would put into it. */
export interface DispatchJob {
  to: string
  message: Record<string, unknown>
}
