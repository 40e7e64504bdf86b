/** One HTTP call with got, its failure as data. Filled in beside the adapters. */

/** What to post. */
export interface HttpRequest {
  url: string
  headers: Record<string, string>
  /** Serialised with JSON.stringify. */
  json: unknown
  timeoutMs: number
  signal?: AbortSignal | undefined
}

/** An answer that was read whole, or up to the limit. */
export interface HttpReply {
  kind: 'reply'
  status: number
  /** Lower-case names. */
  headers: Record<string, string | string[] | undefined>
  body: string
  /** The body was longer than the limit and the rest was not read. */
  truncated: boolean
}

/** No answer. */
export interface HttpFailure {
  kind: 'failure'
  code: string
  message: string
  /** Whether the request may have reached the provider. */
  written: boolean
}

export interface Http {
  post(request: HttpRequest): Promise<HttpReply | HttpFailure>
  close(): void
}
