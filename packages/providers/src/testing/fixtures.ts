/** What a provider's folder holds up against its adapter: requests and answers from the provider's own documents. */
import type { Content } from '../content.ts'
import type { Issue, SendOutcome } from '../provider.ts'
import type { ReceiptReading } from '../receipt.ts'

export interface ProviderFixtures<Account = unknown> {
  /** An account that its schema accepts; its secrets are at least eight characters long. */
  account: Account
  requests: RequestFixture<Account>[]
  replies: ReplyFixture[]
  refusals: RefusalFixture[]
  /** For providers that post receipts: each word of their table at least once. */
  receipts?: ReceiptFixture[]
}

/** A request as the provider's document prints it. */
export interface RequestFixture<Account = unknown> {
  /** The document it is from. */
  name: string
  content: Content
  /** Our id and the recipient, where the document shows particular ones. */
  id?: string
  to?: string
  /** Where it differs from the fixtures' account. */
  account?: Partial<Account> & { receiptUrl?: string; receiptToken?: string }
  expected: {
    method: string
    path: string
    /** Lower-case names; all there are, beside those that every HTTP request has. */
    headers: Record<string, string>
    /** Parsed, or the document's own text. */
    body: object | string
  }
}

/** An answer and what it means. */
export interface ReplyFixture {
  name: string
  /** The row of the provider's table that this shows; absent for answers that no row is about. */
  row?: string
  content?: Content
  reply: {
    status: number
    headers?: Record<string, string>
    /** Sent as JSON, or as it is where it is text. */
    body: object | string
  }
  outcome: SendOutcome
}

/** A body that the provider posts and what is in it. */
export interface ReceiptFixture {
  name: string
  /** Posted as JSON, or as it is where it is text. */
  body: object | string
  reading: Partial<ReceiptReading>
}

/** Content that the provider cannot carry, and what is said about it. */
export interface RefusalFixture {
  name: string
  content: Content
  issues: Pick<Issue, 'path'>[]
}

export const reaction: Content = {
  type: 'reaction',
  reaction: { message_id: 'wamid.HBgLMxxx', emoji: '😀' },
}

type Interactive = Extract<Content, { type: 'interactive' }>['interactive']
type Header = NonNullable<Interactive['header']>

/** Reply buttons with every part, and the given header. */
export function replyButtons(header?: Header): Content {
  return {
    type: 'interactive',
    interactive: {
      type: 'button',
      ...(header && { header }),
      body: { text: 'Is *Tuesday* fine? 😀' },
      footer: { text: 'Reply within a day' },
      action: {
        buttons: [
          { type: 'reply', reply: { id: 'yes', title: 'Yes' } },
          { type: 'reply', reply: { id: 'no', title: 'No, thanks' } },
        ],
      },
    },
  }
}

/** One header of each kind, media by link. */
export const headers = {
  text: { type: 'text', text: 'Your visit' },
  image: { type: 'image', image: { link: 'https://media.example/a.jpg' } },
  video: { type: 'video', video: { link: 'https://media.example/a.mp4' } },
  document: { type: 'document', document: { link: 'https://media.example/a.pdf' } },
} satisfies Record<string, Header>
