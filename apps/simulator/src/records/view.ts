/** A record as the control API shows it. */
import type { Detail, StoredRecord } from './store.ts'

/** With `detail` false, or for records whose detail is gone, only the compact part. */
export function viewRecord(record: StoredRecord, detail: boolean): Record<string, unknown> {
  const { detail: kept, atMs, status, code, ...compact } = record
  const view = { ...compact, atMs, at: new Date(atMs).toISOString(), answer: { status, code } }
  return detail && kept !== undefined ? { ...view, ...viewDetail(kept, view.answer) } : view
}

function viewDetail(detail: Detail, answer: { status: number; code: string }): Record<string, unknown> {
  return {
    method: detail.method,
    path: detail.path,
    headers: headersOf(detail.rawHeaders),
    body: parsedOr(detail.body),
    rawBody: detail.body,
    answer: { ...answer, headers: detail.answerHeaders ?? {}, body: parsedOr(detail.answerBody) },
    fault: detail.rule ?? null,
    reason: detail.reason ?? null,
  }
}

/** Lower-case names; a repeated header's values are joined with a comma. */
function headersOf(rawHeaders: string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!.toLowerCase()
    const value = rawHeaders[index + 1]!
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value
  }
  return headers
}

function parsedOr(text: string | null): unknown {
  if (text === null) return null
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
