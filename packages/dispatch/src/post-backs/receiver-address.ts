/**
 * Where post-backs may go. A caller chooses the address, and this process stands inside the operator's network: so
 * nothing but public addresses is reached, unless the operator's list says otherwise. Looked at when a message is
 * accepted, for a clear answer, and again for each connection, since names change their addresses.
 */
import { isIP, type LookupFunction } from 'node:net'
import ipaddr from 'ipaddr.js'
import { type AllowList, withoutDot } from './allow-list.ts'
import { createNames, type Names } from './names.ts'

/** Longer ones are cut by servers and proxies on their way. */
export const LONGEST_URL = 2_048

/** Where a connection would go. */
export interface Target {
  /** A name in lower case without a dot at its end, or an address without brackets. */
  host: string
  port: number
  /** TLS. */
  secure: boolean
}

/** A connection that was not made. */
export class AddressRefusedError extends Error {
  readonly code = ADDRESS_REFUSED
  constructor(reason: string) {
    super(reason)
    this.name = 'AddressRefusedError'
  }
}
export const ADDRESS_REFUSED = 'ERR_ADDRESS_REFUSED'

/**
 * Which addresses will do: `any` for a host that the list names, `public` ones and those of the list for https on its
 * own port, those of the `list` for everything else.
 */
type Rule = 'any' | 'public' | 'list'

const REMEMBERED_MS = 5_000
const MOST_REMEMBERED = 1_000
/** RFC 6761: these names are this machine, and no name server is to be asked. */
const LOOPBACK = ['127.0.0.1', '::1']

export class ReceiverGuard {
  readonly #allow: AllowList
  readonly #names: Names
  /** By origin, oldest first. */
  readonly #verdicts = new Map<string, { until: number; verdict: Promise<string | undefined> }>()

  constructor(allow: AllowList, names: Names = createNames()) {
    this.#allow = allow
    this.#names = names
  }

  /**
   * For the moment a URL is handed in. A name that cannot be resolved now may be later: it is accepted.
   * @returns what is wrong with the URL, as a sentence that goes on after its name; undefined when it will do
   */
  async check(text: string): Promise<string | undefined> {
    const url = readUrl(text)
    if (typeof url === 'string') return url
    const target = targetOf(url)
    return this.refuse(target) ?? this.#checkName(url.origin, target)
  }

  /** What can be told without asking anybody. @returns as above */
  refuse(target: Target): string | undefined {
    const rule = this.#ruleFor(target)
    if (rule === 'any') return undefined
    const { host, port } = target
    const addresses = isIP(host) ? [host] : isLoopbackName(host) ? LOOPBACK : undefined
    if (addresses)
      return addresses.some((address) => this.#permits(rule, address, port)) ? undefined : whyNot(target)
    return rule === 'public' || this.#allow.hasAddresses ? undefined : whyNot(target)
  }

  /**
   * For one connection: the name is resolved once, and the connection goes to what comes out, or nowhere. Fails with
   * {@link AddressRefusedError} when one of the addresses is not allowed.
   */
  lookupFor(target: Target): LookupFunction {
    return (_hostname, options, callback) => {
      this.#addressesFor(target).then(
        (addresses) => {
          const families = addresses.map((address) => ({ address, family: isIP(address) }))
          const [first] = families
          if (options.all) callback(null, families)
          else callback(null, first!.address, first!.family)
        },
        (error: NodeJS.ErrnoException) => callback(error, []),
      )
    }
  }

  /** @throws {AddressRefusedError} or an error with the code of the look-up */
  async #addressesFor(target: Target): Promise<string[]> {
    const rule = this.#ruleFor(target)
    const { addresses, code } = await this.#resolve(target, rule)
    if (addresses.length === 0) throw Object.assign(new Error(`no address of ${target.host}`), { code })
    if (!addresses.every((address) => this.#permits(rule, address, target.port)))
      throw new AddressRefusedError(whyNotName(target, addresses))
    return addresses
  }

  #checkName(origin: string, target: Target): Promise<string | undefined> {
    if (isIP(target.host)) return Promise.resolve(undefined)
    const now = performance.now()
    const known = this.#verdicts.get(origin)
    if (known && known.until > now) return known.verdict
    const rule = this.#ruleFor(target)
    const verdict =
      rule === 'any'
        ? Promise.resolve(undefined)
        : this.#resolve(target, rule).then(({ addresses }) =>
            addresses.every((address) => this.#permits(rule, address, target.port))
              ? undefined
              : whyNotName(target, addresses),
          )
    this.#verdicts.delete(origin)
    for (const oldest of this.#verdicts.keys()) {
      if (this.#verdicts.size < MOST_REMEMBERED) break
      this.#verdicts.delete(oldest)
    }
    this.#verdicts.set(origin, { until: now + REMEMBERED_MS, verdict })
    return verdict
  }

  async #resolve({ host, port }: Target, rule: Rule) {
    if (rule !== 'any' && isLoopbackName(host))
      return {
        addresses: LOOPBACK.filter((address) => this.#allow.namesAddress(address, port)),
        code: ADDRESS_REFUSED,
      }
    return this.#names.resolve(host, rule === 'any')
  }

  #ruleFor({ host, port, secure }: Target): Rule {
    if (this.#allow.namesHost(host, port)) return 'any'
    return secure && port === 443 ? 'public' : 'list'
  }

  #permits(rule: Rule, address: string, port: number): boolean {
    if (rule === 'any' || this.#allow.namesAddress(address, port)) return true
    return rule === 'public' && isPublic(address)
  }
}

const isLoopbackName = (host: string): boolean => host === 'localhost' || host.endsWith('.localhost')

/** All that is given out to be reached from anywhere (RFC 4291, section 2.4; IANA's IPv6 registry). */
const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')

/**
 * Whether everybody means the same machine by it. `unicast` is what ipaddr.js has in no table of special ranges; of
 * IPv6, only what was given out counts: `::127.0.0.1` is in no table either.
 */
export function isPublic(address: string): boolean {
  if (isIP(address) === 0) return false
  const parsed = ipaddr.parse(address)
  if (parsed.range() !== 'unicast') return false
  return parsed.kind() === 'ipv4' || (parsed as ipaddr.IPv6).match(globalUnicast)
}

/** @returns the URL, or what is wrong with it */
export function readUrl(text: string): URL | string {
  if (text.length > LONGEST_URL) return `has more than ${LONGEST_URL} characters`
  let url: URL
  try {
    url = new URL(text)
  } catch {
    return 'is not a URL'
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'must begin with https://'
  if (url.username || url.password) return 'must hold no user name or password'
  return url
}

/** @param url of `https:` or `http:` */
export function targetOf({ hostname, port, protocol }: URL): Target {
  const secure = protocol === 'https:'
  return {
    host: withoutDot(hostname.replace(/^\[|\]$/g, '')),
    port: port === '' ? (secure ? 443 : 80) : Number(port),
    secure,
  }
}

const LISTED_ONLY = 'unless POST_BACK_ALLOW names the receiver'

function whyNot(target: Target): string {
  const { host, port, secure } = target
  if (isIP(host) && !isPublic(host)) return `leads to ${host}, which is not a public address`
  if (isLoopbackName(host)) return 'leads to this machine, which is not a public address'
  if (!secure) return `must begin with https://, ${LISTED_ONLY}`
  return `must be on port 443, not ${port}, ${LISTED_ONLY}`
}

/** Which address it is, is not for the caller: our name servers may know more than his. */
const whyNotName = (target: Target, addresses: string[]): string =>
  addresses.every(isPublic) ? whyNot(target) : 'leads to an address that is not public'
