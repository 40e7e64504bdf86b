import { messageRequestSchema, recipientSchema } from '@wa-dispatch/dispatch'
import { z } from 'zod'

// Asked a million times a file: the pattern alone decides on plain digits, the schema on all else. Both are one rule.
const pattern = new RegExp(z.toJSONSchema(recipientSchema, { io: 'input' }).pattern as string)
const referenceCharacters = messageRequestSchema.shape.reference.unwrap().maxLength as number

/** The digits of a recipient, or nothing when it is not one. */
export function acceptTo(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  if (value.charCodeAt(0) !== 0x2b && pattern.test(value)) return value
  return recipientSchema.safeParse(value).data
}

/** In words, why `acceptTo` gave nothing. */
export function describeToFault(value: unknown): string {
  if (value === undefined || value === '') return 'to is missing'
  if (typeof value !== 'string') return 'to is not a string: write the digits in quotes'
  return `to is not ${recipientSchema.safeParse(value).error?.issues[0]?.message}`
}

/** Whether this is a reference as `POST /v1/messages` takes it. */
export function isReference(value: unknown): value is string {
  return typeof value === 'string' && value.length >= 1 && value.length <= referenceCharacters
}

export const REFERENCE_FAULT = `reference is not a string of 1 to ${referenceCharacters} characters`
