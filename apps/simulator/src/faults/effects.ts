/** What each effect of a rule means for one message. */
import type { Answer, System, Taken } from '../systems/system.ts'
import { garbageAnswer } from './garbage.ts'
import { type RetryAfter, retryAfterValue } from './retry-after.ts'
import type { Effect } from './schema.ts'

/** The effects that answer nothing. */
export type Silence = 'lost-response' | 'reset-before-body' | 'reset-after-body' | 'hang'

/** Whether the message is taken. */
export function isAccepted(effect: Effect | undefined): boolean {
  if (effect === undefined) return true
  switch (effect.kind) {
    case 'lost-response':
      return true
    case 'answer':
    case 'hang':
      return effect.accepted
    case 'garbage':
      return effect.accepted ?? (effect.status ?? 200) < 300
    default:
      return false
  }
}

/** What is answered, or how nothing is. `requestId` is told where the answer tells one. */
export function answerOf(
  effect: Effect | undefined,
  system: System,
  taken: Taken,
  requestId: string,
): Answer | Silence {
  if (effect === undefined) return system.success(requestId, taken)
  switch (effect.kind) {
    case 'error': {
      const answer = system.errors[effect.name]!(effect.message, effect.status)
      return withRetryAfter(answer, effect.retryAfter)
    }
    case 'answer': {
      const { status, body = '', headers = {} } = effect
      const lowerCase = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
      const answer = {
        status,
        code: String(status),
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: Object.fromEntries(lowerCase) as Record<string, string>,
      }
      return withRetryAfter(answer, effect.retryAfter)
    }
    case 'garbage':
      return garbageAnswer(effect.garbage, system, requestId, taken, effect.status)
    default:
      return effect.kind
  }
}

/** The same answer with a `Retry-After`, where one is given. */
export function withRetryAfter(answer: Answer, retryAfter: RetryAfter | undefined): Answer {
  if (retryAfter === undefined) return answer
  return { ...answer, headers: { ...answer.headers, 'retry-after': retryAfterValue(retryAfter) } }
}
