/** The OpenAPI 3.1 document, made of the schemas that validate, and the page to try it. */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import {
  campaignRequestSchema,
  campaignViewSchema,
  messageRequestSchema,
  messageViewSchema,
} from '@wa-dispatch/dispatch'
import { contentSchema } from '@wa-dispatch/providers'
import type { RouteOptions } from 'fastify'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import { z } from 'zod'
import type { App } from './app.ts'
import { type ProblemStatus, problemSchema } from './problems.ts'
import type { Headers } from './security-headers.ts'

/** Schemas that have a name in the document. */
const NAMED = {
  Campaign: campaignViewSchema,
  CampaignRequest: campaignRequestSchema,
  Content: contentSchema,
  MessageRequest: messageRequestSchema,
  Message: messageViewSchema,
  Problem: problemSchema,
} satisfies Record<string, z.ZodType>

const REFUSALS: Record<Exclude<ProblemStatus, 405 | 414 | 500>, string> = {
  400: 'The request does not fit',
  401: 'No valid key was sent',
  403: 'The key has not the scope for this',
  404: 'There is no such thing',
  406: 'There is no answer of the kind that was asked for',
  408: 'The body stopped arriving',
  409: 'The state does not allow it',
  413: 'The body is too large',
  415: 'The body is of a type that is not taken here',
  422: 'The idempotency key was used for another request',
  429: 'Too many requests; `Retry-After` says how long to wait',
  503: 'The store is away; `Retry-After` says when to come again',
}

type Refusal = keyof typeof REFUSALS

/** The problem documents that a route may answer with; those that every route has are added. */
export function refusals<const Own extends Refusal>(...own: Own[]) {
  const statuses = [...own, 401, 403, 429, 503] as const
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      { description: REFUSALS[status], content: { 'application/problem+json': { schema: problemSchema } } },
    ]),
  )
}

export const bearer = { security: [{ key: [] as string[] }] }

const DESCRIPTION = `Messages go in here and come out at the provider of their account: once, in order of priority, never
above its limit. Errors are problem documents (RFC 9457). Every answer has an \`x-request-id\`.

States: scheduled → queued → sending → submitted → sent → delivered → read, with retrying, uncertain, failed, cancelled and
expired beside them.`

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Bodies that no schema validates because they are streams: type → what the document says of it. */
    bodies?: Record<string, { schema: object }>
  }
}

/** As the schemas say, and the bodies that only the route's configuration tells of. */
const withBodies: typeof jsonSchemaTransform = (input) => {
  const transformed = jsonSchemaTransform(input)
  const content = (input as { route?: RouteOptions }).route?.config?.bodies
  return content ? { ...transformed, schema: { ...transformed.schema, body: { content } } } : transformed
}

/** Registers what gathers routes; to be called before there are any. */
export async function describe(app: App, version: string): Promise<void> {
  for (const [id, schema] of Object.entries(NAMED)) {
    const before = z.globalRegistry.get(schema)
    if (before?.id !== id) z.globalRegistry.add(schema, { ...before, id })
  }
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'wa-dispatch',
        version,
        description: DESCRIPTION,
        license: { name: 'MIT', identifier: 'MIT' },
      },
      tags: [
        { name: 'messages', description: 'Enqueue, look up, cancel, decide' },
        { name: 'campaigns', description: 'One message for many recipients: upload, run, look how it goes' },
        { name: 'receipts', description: 'What providers say after they took a message' },
        { name: 'post-backs', description: 'What callers were told, and could not be told' },
        { name: 'accounts', description: 'Lanes: depth, rate, pause' },
        { name: 'operation', description: 'Health and metrics' },
      ],
      components: {
        securitySchemes: {
          key: {
            type: 'http',
            scheme: 'bearer',
            description: 'A key whose hash is in API_KEYS; scopes: send, read, admin',
          },
        },
      },
    },
    transform: withBodies,
    transformObject: (document) => tidy(jsonSchemaTransformObject(document)),
  })
}

/** The document at /openapi.json and the page at /docs. */
export async function documentationRoutes(app: App, headers: Headers): Promise<void> {
  let document: string | undefined
  app.get('/openapi.json', { config: { scope: 'open' }, schema: { hide: true } }, (_request, reply) => {
    document ??= JSON.stringify(app.swagger())
    return reply
      .type('application/json; charset=utf-8')
      .serializer(String)
      .send(document as never)
  })
  await app.register(async (scope) => {
    scope.addHook('onRequest', async (_request, reply) => void reply.headers(headers))
    await scope.register(swaggerUi, {
      routePrefix: '/docs',
      uiConfig: {
        deepLinking: true,
        layout: 'BaseLayout',
        persistAuthorization: false,
        tryItOutEnabled: true,
      },
      theme: { title: 'wa-dispatch API' },
    })
  })
}

interface Described {
  components: { schemas: Record<string, unknown> }
}

/** Each named schema comes in two directions: one that nothing refers to goes, one that is alone gets the plain name. */
function tidy<Document extends object>(document: Document): Document {
  const { components, ...rest } = document as Document & Described
  const used = new Set<string>()
  const visit = (part: unknown): void => {
    for (const [, name] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (used.has(name!)) continue
      used.add(name!)
      visit(components.schemas[name!])
    }
  }
  visit(rest)
  const plainName = (name: string): string => {
    const plain = name.replace(/Input$/, '')
    return used.has(plain) ? name : plain
  }
  const schemas = Object.fromEntries([...used].map((name) => [plainName(name), components.schemas[name]]))
  const text = JSON.stringify({ ...rest, components: { ...components, schemas } })
  return JSON.parse(
    text.replace(
      /"#\/components\/schemas\/(\w+)"/g,
      (_, name: string) => `"#/components/schemas/${plainName(name)}"`,
    ),
  ) as Document
}
