/** Answers that no client can read, each with what a careful client has to survive. */
import type { Answer, System, Taken } from '../systems/system.ts'
import type { garbageNames } from './schema.ts'

export type Garbage = (typeof garbageNames)[number]

const html = `<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n`
let largeText: string | undefined

/** The unreadable answer in place of `success`; its status stays unless `status` is given. */
export function garbageAnswer(
  garbage: Garbage,
  system: System,
  requestId: string,
  taken: Taken,
  status: number | undefined,
): Answer {
  const success = system.success(requestId, taken)
  const base = { status: status ?? success.status, code: garbage }
  switch (garbage) {
    case 'html':
      return { ...base, body: html, headers: { 'content-type': 'text/html' } }
    case 'empty':
      return { ...base, body: '' }
    case 'truncated-json':
      return { ...base, body: success.body.slice(0, Math.floor(success.body.length / 2)) }
    case 'large-text':
      largeText ??= 'All work and no play makes a dull answer. '.repeat(124_831).slice(0, 5 * 1024 * 1024)
      return { ...base, body: largeText, headers: { 'content-type': 'text/plain' } }
    case 'wrong-content-type':
      return { ...base, body: success.body, headers: { 'content-type': 'text/html; charset=utf-8' } }
    case 'cut-body':
      return { ...base, body: success.body }
    default:
      return { ...base, body: system.oddSuccess[garbage](requestId) }
  }
}
