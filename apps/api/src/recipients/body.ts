import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { type ReadLimits, UnreadableFileError } from './rows.ts'

const INFLATED_CHUNK_BYTES = 64 * 1024

/** zlib's words for the two ways a gzip file can be broken. */
const GZIP_FAULTS: Record<string, string> = {
  'incorrect header check':
    'this is not a gzip file: send it without Content-Encoding, or compress it with gzip',
  'unexpected end of file': 'the gzip file is cut off: send all of it again',
}

/**
 * The bytes of an upload, inflated where it is gzip, no faster than they are taken.
 *
 * The body itself is never destroyed: it is a request that still waits for its answer.
 *
 * @throws {UnreadableFileError} for a gzip file that is broken or inflates beyond the limits
 * @throws the body's own error when the upload breaks off
 */
export function readBody(body: Readable, gzip: boolean, limits: ReadLimits): AsyncGenerator<Buffer> {
  return gzip ? inflate(body, limits) : readPlain(body)
}

async function* readPlain(body: Readable): AsyncGenerator<Buffer> {
  for await (const chunk of body.iterator({ destroyOnReturn: false })) {
    yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk)
  }
}

async function* inflate(body: Readable, limits: ReadLimits): AsyncGenerator<Buffer> {
  let compressedBytes = 0
  let inflatedBytes = 0
  let brokenOff: { error: unknown } | undefined
  async function* compressed() {
    try {
      for await (const chunk of readPlain(body)) {
        compressedBytes += chunk.length
        yield chunk
      }
    } catch (error) {
      brokenOff = { error }
      throw error
    }
  }
  const gunzip = createGunzip({ chunkSize: INFLATED_CHUNK_BYTES })
  // What goes wrong here comes out of the loop below as well.
  pipeline(compressed(), gunzip).catch(() => {})
  try {
    for await (const chunk of gunzip) {
      inflatedBytes += chunk.length
      refuseBomb(inflatedBytes, compressedBytes, limits)
      yield chunk
    }
  } catch (error) {
    if (brokenOff) throw brokenOff.error
    if (!(error instanceof Error) || !/^Z_/.test((error as NodeJS.ErrnoException).code ?? '')) throw error
    // An empty file is called empty, however it was to be sent.
    if (compressedBytes === 0) return
    throw new UnreadableFileError(GZIP_FAULTS[error.message] ?? `the gzip file is damaged (${error.message})`)
  } finally {
    gunzip.destroy()
  }
}

function refuseBomb(inflatedBytes: number, compressedBytes: number, limits: ReadLimits): void {
  if (inflatedBytes > limits.inflatedBytes) {
    throw new UnreadableFileError(
      `the gzip file inflates to more than ${limits.inflatedBytes} bytes: send it in parts`,
    )
  }
  if (
    inflatedBytes > limits.inflatedBytesBeforeRatio &&
    inflatedBytes > compressedBytes * limits.inflationRatio
  ) {
    throw new UnreadableFileError(
      `the gzip file inflates to more than ${limits.inflationRatio} times its size, as no list of recipients does: send it without gzip`,
    )
  }
}
