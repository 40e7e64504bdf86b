import { randomUUID } from 'node:crypto'
import { createWriteStream, openAsBlob } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { CampaignView, MessageView } from '@wa-dispatch/dispatch'
import type { ApiClient } from './client.ts'

/** What the API says about an uploaded file. */
export interface Uploaded {
  accepted: number
  rejected: number
  duplicates: number
  /** The first hundred of the rejected. */
  errors: { line: number; message: string }[]
}

/** What the API says would happen. */
export interface DryRun {
  total: number
  duplicates: number
  rejected: number
  /** Rejected rows by reason. */
  rejections: Record<string, number>
  already_reached: number
  duration_seconds: number
  warnings: string[]
  examples: { line: number; to: string; message: Record<string, unknown> }[]
}

/** One campaign as its owner handles it. */
export class CampaignClient {
  readonly id: string
  readonly #api: ApiClient
  readonly #signal: AbortSignal

  private constructor(api: ApiClient, id: string, signal: AbortSignal) {
    this.id = id
    this.#api = api
    this.#signal = signal
  }

  /** Makes a draft. @param request the body of `POST /v1/campaigns` */
  static async create(api: ApiClient, request: unknown, signal: AbortSignal): Promise<CampaignClient> {
    const { id } = await api.post<{ id: string }>('/v1/campaigns', asJson(request, `demo-${randomUUID()}`))
    return new CampaignClient(api, id, signal)
  }

  /** @param file a CSV; it is read while it is sent */
  async upload(file: string): Promise<Uploaded> {
    return this.#api.post(`/v1/campaigns/${this.id}/recipients`, {
      headers: { 'content-type': 'text/csv', 'idempotency-key': `demo-${randomUUID()}` },
      body: await openAsBlob(file),
    })
  }

  check(): Promise<DryRun> {
    return this.#api.post(`/v1/campaigns/${this.id}/check`)
  }

  /** Asking twice finds it done. */
  async act(action: 'start' | 'pause' | 'resume' | 'cancel'): Promise<void> {
    await this.#api.post(`/v1/campaigns/${this.id}/${action}`)
  }

  async retry(codes: readonly string[]): Promise<void> {
    await this.#api.post(`/v1/campaigns/${this.id}/retry`, asJson({ codes }, `demo-${randomUUID()}`))
  }

  async resolve(message: MessageView, as: 'submitted' | 'resend'): Promise<void> {
    await this.#api.post(`/v1/messages/${message.id}/resolve`, asJson({ as }))
  }

  read(): Promise<CampaignView> {
    return this.#api.get(`/v1/campaigns/${this.id}`)
  }

  /** Every message in a state. */
  async messages(state: string): Promise<MessageView[]> {
    const found: MessageView[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const query = new URLSearchParams({ campaign: this.id, state, ...(cursor && { cursor }) })
      const page: { items: MessageView[]; next: string | null } = await this.#api.get(`/v1/messages?${query}`)
      found.push(...page.items)
      cursor = page.next
    }
    return found
  }

  /** Writes the report into a file while it comes. */
  async download(file: string): Promise<void> {
    const report = await this.#api.stream(`/v1/campaigns/${this.id}/report`, 'text/csv')
    await pipeline(Readable.fromWeb(report), createWriteStream(file), { signal: this.#signal })
  }
}

/** Ends what an interrupted run has left: campaigns that would go on sending. */
export async function cancelCampaigns(api: ApiClient, account: string): Promise<void> {
  const states = ['draft', 'scheduled', 'running', 'paused']
  for (const state of states) {
    const query = new URLSearchParams({ account, state, limit: '500' })
    const { items } = await api.get<{ items: CampaignView[] }>(`/v1/campaigns?${query}`)
    for (const { id } of items) await api.post(`/v1/campaigns/${id}/cancel`)
  }
}

const asJson = (body: unknown, idempotencyKey?: string): RequestInit => ({
  headers: {
    'content-type': 'application/json',
    ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
  },
  body: JSON.stringify(body),
})
