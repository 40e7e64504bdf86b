/**
 * POST_BACK_ALLOW: what post-backs may reach although it is not public. Separated by commas, each one of
 * `host`, `host:port`, `10.1.2.3`, `10.1.2.3:8080`, `[fd00::1]:8080` and `10.0.0.0/8`; without a port, every port.
 *
 * A name stands for itself, not for names below it, and vouches for every address that it has.
 */
import { BlockList, isIP } from 'node:net'

type Entry = { port: number | undefined } & (
  | { host: string }
  | { address: string; bits: number; family: 'ipv4' | 'ipv6' }
)

export class AllowList {
  readonly #hosts = new Set<string>()
  /** By port; undefined: any. */
  readonly #addresses = new Map<number | undefined, BlockList>()

  constructor(entries: Entry[] = []) {
    for (const entry of entries) {
      if ('host' in entry) {
        this.#hosts.add(hostKey(entry.host, entry.port))
        continue
      }
      const addresses = this.#addresses.get(entry.port) ?? new BlockList()
      this.#addresses.set(entry.port, addresses)
      addresses.addSubnet(entry.address, entry.bits, entry.family)
    }
  }

  /** Whether any address is listed, so that a name may turn out to be allowed. */
  get hasAddresses(): boolean {
    return this.#addresses.size > 0
  }

  /** @param host in lower case, without a dot at its end */
  namesHost(host: string, port: number): boolean {
    return this.#hosts.has(hostKey(host, port)) || this.#hosts.has(hostKey(host, undefined))
  }

  namesAddress(address: string, port: number): boolean {
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    return [port, undefined].some((at) => this.#addresses.get(at)?.check(address, family))
  }
}

const hostKey = (host: string, port: number | undefined): string => `${host}:${port ?? ''}`

/** @returns the list, and a line for each entry that is none */
export function parseAllowList(text: string): { list: AllowList; faults: string[] } {
  const entries: Entry[] = []
  const faults: string[] = []
  for (const written of text.split(',').map((entry) => entry.trim())) {
    if (!written) continue
    const entry = parseEntry(written)
    if (typeof entry === 'string') faults.push(`"${withoutCredentials(written)}" ${entry}`)
    else entries.push(entry)
  }
  return { list: new AllowList(entries), faults }
}

/** Who writes a URL here may write its password too. */
const withoutCredentials = (text: string): string => text.replace(/^.*@/, '…@')

/** @returns the entry, or what is wrong with it */
function parseEntry(text: string): Entry | string {
  if (text.includes('://') || text.includes('@')) return 'is a URL: write its host, or host:port'
  if (text.includes('/')) return parseRange(text)
  if (isIP(text)) return { ...single(text), port: undefined }
  const [, inBrackets, plain = '', digits] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(text) ?? []
  const port = digits === undefined ? undefined : Number(/^\d{1,5}$/.test(digits) ? digits : Number.NaN)
  if (port !== undefined && !(port >= 1 && port <= 65_535))
    return 'has no port from 1 to 65535 after its colon'
  if (inBrackets !== undefined)
    return isIP(inBrackets) === 6 ? { ...single(inBrackets), port } : 'has no IPv6 address in its brackets'
  if (isIP(plain) === 4) return { ...single(plain), port }
  const host = hostOf(plain)
  return host === undefined ? 'is no host, host:port, IP address or CIDR range' : { host, port }
}

function parseRange(text: string): Entry | string {
  const [, address = '', digits = ''] = /^([^/]*)\/(\d{1,3})$/.exec(text) ?? []
  const version = isIP(address)
  if (version === 0) return 'is no CIDR range, such as 10.0.0.0/8'
  const { family, bits: most } = single(address)
  if (Number(digits) > most) return `has more bits than the ${most} of its address`
  return { address, family, bits: Number(digits), port: undefined }
}

const single = (address: string): { address: string; bits: number; family: 'ipv4' | 'ipv6' } =>
  isIP(address) === 6 ? { address, bits: 128, family: 'ipv6' } : { address, bits: 32, family: 'ipv4' }

/** As a URL would have it: lower case, in ASCII. @returns undefined for what is no name, such as `0x7f.1` or `*.example` */
function hostOf(text: string): string | undefined {
  if (!text) return undefined
  try {
    const { hostname, href } = new URL(`http://${text}/`)
    // More than a host, as in `host#why` or `host?`: half of an entry is not what was meant.
    if (href !== `http://${hostname}/`) return undefined
    const host = withoutDot(hostname)
    return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(host) && isIP(host) === 0 ? host : undefined
  } catch {
    return undefined
  }
}

/** `name.` is the same name. */
export const withoutDot = (host: string): string => host.replace(/\.$/, '')
