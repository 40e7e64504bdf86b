import { fileURLToPath } from 'node:url'

/** The folder that holds package.json, without a slash at its end. */
export const checkoutDir = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '')

/** Everything that can be deleted at any time: downloads, private servers' data, reports. Ignored by git. */
export const cacheDir = `${checkoutDir}/.cache`
