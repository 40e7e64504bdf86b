/**
 * helmet's headers. They are the same for every answer of one kind, so they are asked for once, when the application
 * is built, and not put together again for each request.
 */
import helmet, { type FastifyHelmetOptions } from '@fastify/helmet'
import Fastify from 'fastify'

export type Headers = Readonly<Record<string, string>>

type Directives = Record<string, string[] | null>

/** HTTPS is the business of whoever stands in front: behind plain HTTP these two would only break pages. */
const plain = { 'upgrade-insecure-requests': null } satisfies Directives

const POLICIES = {
  /** Answers to programs: nothing in them is to be shown or run. */
  data: { useDefaults: false, directives: { 'default-src': ["'none'"], 'frame-ancestors': ["'none'"] } },
  /** Swagger UI sets styles from its script and shows its icons as data. */
  docs: {
    directives: {
      ...plain,
      'frame-ancestors': ["'none'"],
      'font-src': ["'self'"],
      'style-src': ["'self'", "'unsafe-inline'"],
      'img-src': ["'self'", 'data:'],
    },
  },
  /** bull-board's page has a style element and style attributes of its own. */
  dashboard: {
    directives: {
      ...plain,
      'frame-ancestors': ["'none'"],
      'font-src': ["'self'", 'data:'],
      'style-src': ["'self'", "'unsafe-inline'"],
      'img-src': ["'self'", 'data:'],
    },
  },
} satisfies Record<string, { useDefaults?: boolean; directives: Directives }>

export type PolicyName = keyof typeof POLICIES

export async function securityHeaders(): Promise<Record<PolicyName, Headers>> {
  const names = Object.keys(POLICIES) as PolicyName[]
  const entries = await Promise.all(names.map(async (name) => [name, await headersOf(name)] as const))
  return Object.fromEntries(entries) as Record<PolicyName, Headers>
}

/** Each header costs time on each answer, and these say something about pages only. */
const FOR_PAGES_ONLY: FastifyHelmetOptions = {
  crossOriginOpenerPolicy: false,
  originAgentCluster: false,
  referrerPolicy: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xFrameOptions: false, // frame-ancestors says it
  xPermittedCrossDomainPolicies: false,
  xXssProtection: false,
}

async function headersOf(name: PolicyName): Promise<Headers> {
  const probe = Fastify()
  await probe.register(helmet, {
    ...(name === 'data' && FOR_PAGES_ONLY),
    contentSecurityPolicy: POLICIES[name] as NonNullable<FastifyHelmetOptions['contentSecurityPolicy']>,
  })
  probe.get('/', (_request, reply) => reply.code(204).send())
  const { headers } = await probe.inject('/')
  await probe.close()
  const transport = new Set(['date', 'connection', 'content-length', 'keep-alive'])
  return Object.fromEntries(
    Object.entries(headers).flatMap(([key, value]) => (transport.has(key) ? [] : [[key, String(value)]])),
  )
}
