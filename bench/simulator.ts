/** What the simulator is told and asked, beside what came in. */

/** @throws for an answer that is not 2xx */
// biome-ignore lint/suspicious/noExplicitAny: answers of our own simulator, read in few places
export async function control(url: string, method: string, path: string, body?: unknown): Promise<any> {
  const response = await fetch(`${url}/simulator/${path}`, {
    method,
    signal: AbortSignal.timeout(60_000),
    ...(body !== undefined && {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`simulator: ${method} ${path}: ${response.status} ${text.slice(0, 500)}`)
  return text ? JSON.parse(text) : undefined
}

/** One that was sent, or was to be. */
export interface SentReceipt {
  /** Our message id. */
  reference: string
  status: string
  state: 'pending' | 'acknowledged' | 'given-up' | 'silent'
  atMs: number
  /** When it was answered, milliseconds since 1970. */
  answeredAtMs: number | null
}

/** All that it remembers, one by one: they are many. */
export async function* sentReceipts(url: string): AsyncGenerator<SentReceipt> {
  const response = await fetch(`${url}/simulator/receipts?format=ndjson`)
  if (!response.ok || !response.body) throw new Error(`simulator: receipts: ${response.status}`)
  let rest = ''
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = `${rest}${part}`.split('\n')
    rest = lines.pop()!
    for (const line of lines) yield JSON.parse(line) as SentReceipt
  }
}
