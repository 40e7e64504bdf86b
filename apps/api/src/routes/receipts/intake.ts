/**
 * `POST /v1/receipts/:account`: providers give up on a slow answer, and repeat what was not answered. So a receipt is
 * kept as it came and answered at once; a worker makes sense of it later.
 */
import { z } from 'zod'
import type { App } from '../../app.ts'
import { refusals } from '../../openapi.ts'
import { Problem } from '../../problems.ts'
import type { ReceiptRouteOptions } from './index.ts'
import { receiptGate } from './receipt-token.ts'

const BODY_BYTES = 1_048_576
const TEXT = 'text/plain'
const BYTE_ORDER_MARK = 0xfeff

/** For the OpenAPI document: what comes is not held against it. */
const described = {
  params: z.object({ account: z.string().meta({ examples: ['kaleyra-in'] }) }),
  querystring: z.object({
    token: z.string().optional().meta({ description: "The account's `receiptToken`" }),
  }),
  headers: z.object({
    'x-receipt-token': z
      .string()
      .optional()
      .meta({ description: 'The same, for those who can set a header; it goes before the query' }),
  }),
}
const asItIs = () => (data: unknown) => ({ value: data })

const RECEIVED = { received: true as const }

export function intakeRoute(app: App, { storage }: ReceiptRouteOptions): void {
  const refuse = receiptGate(storage.accounts)

  // A scope of its own: nothing else takes every type, and takes it as text.
  app.register(async (plain) => {
    const scope = plain as unknown as App
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(TEXT, { parseAs: 'string', bodyLimit: BODY_BYTES }, (_request, body, done) =>
      done(null, body),
    )

    scope.post(
      '/v1/receipts/:account',
      {
        config: {
          scope: 'open',
          rateLimit: false,
          quiet: true,
          bodies: {
            'application/json': {
              schema: { description: "One or several delivery statuses in the provider's own shape" },
            },
          },
        },
        validatorCompiler: asItIs,
        schema: {
          tags: ['receipts'],
          summary: "A provider's delivery status",
          description:
            'The address to give to the provider. Any JSON of at most 1 MiB is taken, of whatever content type, and ' +
            'answered as soon as it is kept. Repeating it is harmless.',
          ...described,
          response: {
            200: z.object({ received: z.literal(true) }),
            ...refusals(400, 404, 413),
          },
        },
        // Before the body is read.
        onRequest(request, _reply, done) {
          const presented = request.headers['x-receipt-token'] ?? request.query.token
          // Whatever the provider calls it: it is looked into by the worker.
          request.raw.headers['content-type'] = TEXT
          done(refuse(request.params.account, presented))
        },
      },
      async (request) => {
        storage.mustBeOpen()
        await storage.receipts.put(request.params.account, jsonText(request.body))
        return RECEIVED
      },
    )
  })
}

/** @returns the text @throws {Problem} 400 where it is no JSON */
function jsonText(body: unknown): string {
  if (typeof body === 'string') {
    const text = body.charCodeAt(0) === BYTE_ORDER_MARK ? body.slice(1) : body
    try {
      JSON.parse(text)
      return text
    } catch {
      // said below
    }
  }
  throw new Problem('invalid-request', 'The body cannot be read as JSON.')
}
