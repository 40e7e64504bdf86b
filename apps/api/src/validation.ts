/** Between zod and Fastify: requests are validated by the schemas, answers are typed by them. */
import type { FastifySchemaCompiler, FastifySerializerCompiler } from 'fastify'
import { z } from 'zod'
import { type FieldError, Problem } from './problems.ts'

type Issue = z.core.$ZodIssue
type Path = readonly PropertyKey[]

/** A caller that sent a thousand wrong fields reads the first of them. */
const MAXIMUM_ERRORS = 50
const MAXIMUM_PATH = 200

export const pathOf = (path: Path): string => z.core.toDotPath([...path]).slice(0, MAXIMUM_PATH)

/** A line per place that does not fit, with its path in the request. */
export function fieldErrorsOf(error: z.core.$ZodError): FieldError[] {
  return error.issues.flatMap((issue) => flatten(issue, [])).slice(0, MAXIMUM_ERRORS)
}

function flatten(issue: Issue, before: Path): FieldError[] {
  const path = [...before, ...issue.path]
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.slice(0, MAXIMUM_ERRORS).map((key) => ({
      path: pathOf([...path, key]),
      message: 'this field is not known here',
    }))
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // Of the ways it could have been written, the one that it is nearest to.
    const nearest = issue.errors.reduce((best, one) => (one.length < best.length ? one : best))
    return nearest.flatMap((inner) => flatten(inner, path))
  }
  return [{ path: pathOf(path), message: wordsOf(issue, path) }]
}

function wordsOf({ code, message }: Issue, path: Path): string {
  if (code !== 'invalid_type') return message
  if (path.length === 0) return 'a JSON object is expected'
  return message.endsWith('received undefined') ? 'is required' : message.replace(/^Invalid input: /, '')
}

/** @returns 400 with what does not fit */
export function refuse(errors: FieldError[]): Problem {
  const first = errors[0]
  const detail = first
    ? `${first.path ? `${first.path}: ` : ''}${first.message}`
    : 'The request does not fit.'
  return new Problem('invalid-request', detail, { errors })
}

export const validatorCompiler: FastifySchemaCompiler<z.ZodType> =
  ({ schema }) =>
  (data: unknown) => {
    const result = schema.safeParse(data)
    return result.success ? { value: result.data } : { error: refuse(fieldErrorsOf(result.error)) }
  }

/** The compiler has held the handlers against the answers' schemas already; doing it again here would only cost. */
export const serializerCompiler: FastifySerializerCompiler<unknown> = () => JSON.stringify
