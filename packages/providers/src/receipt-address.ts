/** The address that a provider is given for its receipts. */

/**
 * The account's `receiptUrl`, with its `receiptToken` in the query where none is there yet: a provider that neither
 * signs nor sends headers of ours can prove itself with nothing else.
 * @returns undefined where the account has no address
 */
export function receiptAddress({
  receiptUrl,
  receiptToken,
}: {
  receiptUrl?: string | undefined
  receiptToken?: string | undefined
}): string | undefined {
  if (!receiptUrl || !receiptToken || !URL.canParse(receiptUrl)) return receiptUrl
  const url = new URL(receiptUrl)
  if (url.searchParams.has('token')) return receiptUrl
  const token = `token=${encodeURIComponent(receiptToken)}`
  // Not through searchParams: that would write the rest of the query anew.
  url.search = url.search ? `${url.search}&${token}` : `?${token}`
  return url.href
}
