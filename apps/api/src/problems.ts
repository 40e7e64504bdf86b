/** Every refusal is a problem document (RFC 9457, `application/problem+json`); this is the one place that makes them. */
import { isRedisAway } from '@wa-dispatch/dispatch'
import type { FastifyError, FastifyReply } from 'fastify'
import { z } from 'zod'

/** What can be wrong, with its status and title. The name is the end of the problem's `type`. */
const PROBLEMS = {
  'invalid-request': [400, 'The request does not fit'],
  'wrong-receipt-token': [401, 'The receipt token of the account is needed'],
  unauthorized: [401, 'A valid API key is needed'],
  forbidden: [403, 'This key may not do that'],
  'not-found': [404, 'There is no such thing'],
  'method-not-allowed': [405, 'This address does not take that method'],
  'not-acceptable': [406, 'There is no answer of the kind that was asked for'],
  timeout: [408, 'The request did not arrive'],
  conflict: [409, 'The state does not allow it'],
  'payload-too-large': [413, 'The body is too large'],
  'address-too-long': [414, 'The address is too long'],
  'unsupported-media-type': [415, 'The body is of a type that is not taken here'],
  'idempotency-key-reused': [422, 'The idempotency key was used for another request'],
  'too-many-requests': [429, 'Too many requests'],
  internal: [500, 'Something went wrong here'],
  unavailable: [503, 'Not available at the moment'],
} as const satisfies Record<string, readonly [number, string]>

export type ProblemName = keyof typeof PROBLEMS
export type ProblemStatus = (typeof PROBLEMS)[ProblemName][0]

/** What is wrong at one place of the request, for example `message.reaction.emoji`. */
export interface FieldError {
  path: string
  message: string
}

export const problemSchema = z.object({
  type: z.string().meta({
    description: 'urn:wa-dispatch:problem:…',
    examples: ['urn:wa-dispatch:problem:invalid-request'],
  }),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  errors: z
    .array(z.object({ path: z.string(), message: z.string() }))
    .optional()
    .meta({ description: 'What does not fit, place by place' }),
})
export type ProblemDocument = z.infer<typeof problemSchema>

/** A refusal on its way to the caller. */
export class Problem extends Error {
  readonly problem: ProblemName
  /** Fastify reads it, and writes it where it is not there. */
  statusCode: ProblemStatus
  readonly errors: FieldError[] | undefined
  /** Seconds after which trying again makes sense. */
  readonly retryAfterSeconds: number | undefined
  /** Further members of the document. */
  readonly members: Record<string, unknown> | undefined

  constructor(
    problem: ProblemName,
    detail: string,
    more: { errors?: FieldError[]; retryAfterSeconds?: number; members?: Record<string, unknown> } = {},
  ) {
    super(detail)
    this.name = 'Problem'
    this.problem = problem
    this.statusCode = PROBLEMS[problem][0]
    this.errors = more.errors
    this.retryAfterSeconds = more.retryAfterSeconds
    this.members = more.members
  }

  toJSON(): ProblemDocument {
    const [status, title] = PROBLEMS[this.problem]
    return {
      type: `urn:wa-dispatch:problem:${this.problem}`,
      title,
      status,
      detail: this.message,
      ...(this.errors && { errors: this.errors }),
      ...this.members,
    }
  }
}

/** How long a caller should stay away while Redis is. */
const REDIS_RETRY_SECONDS = 2

export const storeAway = () =>
  new Problem('unavailable', 'The store does not answer; nothing was accepted for sure. Try again.', {
    retryAfterSeconds: REDIS_RETRY_SECONDS,
  })

export const noSuchCampaign = () => new Problem('not-found', 'There is no campaign with this id (any more).')

export const noSuchMessage = () => new Problem('not-found', 'There is no message with this id (any more).')

/** What Fastify refuses by itself. Its own words may repeat what was sent. */
const FRAMEWORK_DETAILS: Record<string, string> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'The body cannot be read as JSON.',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'The body is empty.',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'Send the body as application/json.',
  FST_ERR_CTP_BODY_TOO_LARGE: 'The body is larger than this address takes.',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'The body is not as long as its content-length says.',
  FST_ERR_BAD_URL: 'The address cannot be decoded.',
}

const byStatus = new Map(
  Object.entries(PROBLEMS).map(([name, [status]]) => [status as number, name as ProblemName]),
)

/** Turns whatever was thrown into a problem; what is not known becomes a 500 that says nothing about the inside. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (isRedisAway(error)) return storeAway()
  const { statusCode = 500, code = '' } = error as Partial<FastifyError>
  if (statusCode >= 400 && statusCode < 500) {
    const name = byStatus.get(statusCode) ?? 'invalid-request'
    return new Problem(name, FRAMEWORK_DETAILS[code] ?? `${PROBLEMS[name][1]}.`)
  }
  // A handler that took too long, a server that is closing.
  if (statusCode === 503)
    return new Problem('unavailable', 'Try again.', { retryAfterSeconds: REDIS_RETRY_SECONDS })
  return new Problem(
    'internal',
    'The fault is on our side; the log names it by the request id of this answer.',
  )
}

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

/** How to authenticate, where it is not with an API key. */
const SCHEMES: Partial<Record<ProblemName, string>> = { 'wrong-receipt-token': 'Receipt-Token' }

export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  if (problem.retryAfterSeconds !== undefined) reply.header('retry-after', problem.retryAfterSeconds)
  if (problem.statusCode === 401)
    reply.header('www-authenticate', `${SCHEMES[problem.problem] ?? 'Bearer'} realm="wa-dispatch"`)
  return reply.code(problem.statusCode).type(PROBLEM_TYPE).serializer(JSON.stringify).send(problem.toJSON())
}
