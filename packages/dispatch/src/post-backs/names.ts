/**
 * What addresses a name has.
 *
 * Names that callers bring are asked of the name servers directly: the system's own look-up holds one of Node's few
 * threads for as long as a name server is silent, and a caller can own such a server. Names that the operator lists are
 * looked up as the system does it, so that its hosts file and search domains count.
 */
import { lookup, Resolver } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Resolved {
  /** IPv4 first; empty where there is none or nobody answered in time. */
  addresses: string[]
  /** Why there is none: `ENOTFOUND`, `ETIMEOUT`, … */
  code: string
}

export interface Names {
  /** Never rejects. @param trusted listed by the operator */
  resolve(name: string, trusted: boolean): Promise<Resolved>
}

export interface NamesSettings {
  /** `address:port` of name servers; absent: the system's. */
  servers?: string[]
  /** For one look-up. */
  timeoutMs?: number
}

const SECOND_TRY_AFTER_MS = 700

export function createNames({ servers, timeoutMs = 2_000 }: NamesSettings = {}): Names {
  const resolver = new Resolver({ timeout: SECOND_TRY_AFTER_MS, tries: 2 })
  if (servers) resolver.setServers(servers)
  return {
    async resolve(name, trusted) {
      const found: string[][] = []
      let code: string | undefined
      const ask = (place: number, answer: Promise<string[]>) =>
        answer.then(
          (addresses) => {
            found[place] = addresses
          },
          (error: NodeJS.ErrnoException) => {
            // A name may have addresses of one kind only.
            if (error.code !== 'ENODATA') code = error.code
          },
        )
      const answers = trusted
        ? [
            ask(
              0,
              lookup(name, { all: true, order: 'ipv4first' }).then((all) =>
                all.map(({ address }) => address),
              ),
            ),
          ]
        : [ask(0, resolver.resolve4(name)), ask(1, resolver.resolve6(name))]
      const tooLate = new AbortController()
      await Promise.race([
        Promise.all(answers),
        sleep(timeoutMs, undefined, { signal: tooLate.signal }).then(
          () => {
            code = 'ETIMEOUT'
          },
          () => undefined,
        ),
      ])
      tooLate.abort()
      return { addresses: found.flat(), code: code ?? 'ENOTFOUND' }
    },
  }
}
