/** Words of a provider on their way into the ledger, logs and answers. */

const maximumCharacters = 300
const maximumCodeCharacters = 64
/** Shorter ones are words like `key`, which would be cut out of harmless sentences. */
const shortestSecret = 8

/**
 * Makes a provider's text safe to show: one line, nothing invisible, no secret that it echoed, at most 300 characters.
 * @param secrets values that must not appear.
 */
export function tellable(text: string, secrets: readonly string[] = []): string {
  // The order matters: invisible characters inside a secret would hide it from the search, and a text cut
  // first could keep half a secret that is no longer recognised.
  const visible = text.replace(/[\p{Cc}\p{Z}]+/gu, ' ').replace(/\p{Cf}+/gu, '')
  let clean = visible.toWellFormed().trim()
  for (const secret of secrets) {
    if (secret.length >= shortestSecret) clean = clean.replaceAll(secret, '[secret]')
  }
  // A code point is at most two units, so this much is enough to count from.
  const characters = [...clean.slice(0, 2 * (maximumCharacters + 1))]
  return characters.length > maximumCharacters
    ? `${characters.slice(0, maximumCharacters - 1).join('')}…`
    : clean
}

/** The same for a code, which is short or none. */
export function tellableCode(code: string, secrets: readonly string[] = []): string {
  return tellable(code, secrets).slice(0, maximumCodeCharacters).toWellFormed()
}
