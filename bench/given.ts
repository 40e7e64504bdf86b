/** What both sides are given. */
export const account = {
  id: 'kaleyra-in',
  provider: 'kaleyra',
  sid: 'HXAP16XXXXXX97IN',
  apiKey: 'Akey3',
  sender: '919000000000',
  // Out of the way: the script has no limit at all.
  rateLimit: { perSecond: 100_000 },
}
export interface BenchAccount {
  id: string
  rateLimit: { perSecond: number }
  /** What its provider asks for. */
  [setting: string]: unknown
}
/** Attempts in flight, on both sides. */
export const concurrency = 100

/** The message that everybody sends. */
export const message = {
  type: 'interactive',
  interactive: {
    type: 'button',
    body: { text: 'Your order 1042 arrives on Tuesday between 9 and 12. Is this time good for you?' },
    action: {
      buttons: [
        { type: 'reply', reply: { id: 'yes', title: 'Yes' } },
        { type: 'reply', reply: { id: 'later', title: 'Later' } },
        { type: 'reply', reply: { id: 'call', title: 'Call me' } },
      ],
    },
  },
}
