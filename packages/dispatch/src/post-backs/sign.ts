/** Signatures of post-backs, as Standard Webhooks say (specification 1.0.0, "Signature scheme", symmetric). */
import { Webhook } from 'standardwebhooks'

export interface Signer {
  /**
   * @param at of this try, not of the event: receivers refuse what is more than five minutes old
   * @returns the headers that prove who sent it
   */
  sign(eventId: string, at: Date, body: string): SignatureHeaders
}

export interface SignatureHeaders {
  'webhook-id': string
  /** Seconds since 1970. */
  'webhook-timestamp': string
  /** One signature for each secret, separated by spaces. */
  'webhook-signature': string
}

/** "Between 24 bytes (192 bits) and 64 bytes (512 bits)." */
const KEY_BYTES = { least: 24, most: 64 }
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * @param text `whsec_` and the key in base64; several while receivers change from one to another, separated by spaces
 * or commas
 * @returns what is wrong, without the secret, or the signer
 */
export function createSigner(text: string): Signer | string {
  const secrets = text.split(/[\s,]+/).filter(Boolean)
  if (secrets.length === 0) return 'must be a secret that begins with whsec_'
  for (const [index, secret] of secrets.entries()) {
    const which = secrets.length > 1 ? `the secret number ${index + 1} ` : ''
    const key = secret.slice('whsec_'.length)
    if (!secret.startsWith('whsec_')) return `${which}must begin with whsec_`
    if (!base64.test(key)) return `${which}must be base64 after whsec_`
    const bytes = Buffer.from(key, 'base64').length
    if (bytes < KEY_BYTES.least || bytes > KEY_BYTES.most)
      return `${which}must hold from ${KEY_BYTES.least} to ${KEY_BYTES.most} bytes, not ${bytes}; make one with: echo whsec_$(openssl rand -base64 32)`
  }
  const webhooks = secrets.map((secret) => new Webhook(secret))
  return {
    sign: (eventId, at, body) => ({
      'webhook-id': eventId,
      'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
      'webhook-signature': webhooks.map((webhook) => webhook.sign(eventId, at, body)).join(' '),
    }),
  }
}
