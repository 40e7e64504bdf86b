/** `POST /v1/campaigns/:id/recipients`: a file of recipients, however long, as it arrives. */
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import {
  type CampaignRecord,
  type CampaignState,
  compileTemplate,
  isRedisAway,
  type Template,
} from '@wa-dispatch/dispatch'
import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { noSuchCampaign, Problem, problemSchema, storeAway } from '../../problems.ts'
import { readRows, UnreadableFileError } from '../../recipients/read-rows.ts'
import { keyOf, markReplayed, reusedKey } from '../messages/idempotency-key.ts'
import { providerOf } from './create.ts'
import { fileOf, RECIPIENT_FILES, refuseType, TYPES } from './file-type.ts'
import { findCampaign } from './find-campaign.ts'
import { type CampaignRouteOptions, campaignParams } from './index.ts'
import { BrokenUploadError, lingering, type Received, receive } from './receive.ts'
import { Upload, type UploadAnswer, UploadEndedError } from './upload.ts'

/** Connections whose request may take longer than others: something else watches over it. */
export type LongRequests = Pick<WeakSet<Socket>, 'add' | 'delete'>

export interface RecipientsRouteOptions extends CampaignRouteOptions {
  long: LongRequests
  /** For how long an upload may stand still. */
  idleMs: number
}

const count = z.int().min(0)
const answerSchema = z.object({
  accepted: count.meta({ description: 'Rows that are in the campaign now' }),
  rejected: count.meta({ description: 'Rows that do not fit' }),
  duplicates: count.meta({
    description: 'Rows whose recipient was in the campaign, or in this file, before',
  }),
  errors: z
    .array(z.object({ line: z.int(), message: z.string() }))
    .max(100)
    .meta({
      description: 'The first 100 rows that do not fit, by their line of the file',
      examples: [[{ line: 7, message: 'variables.name: is missing' }]],
    }),
}) satisfies z.ZodType<UploadAnswer>

/** An upload that ended early says what of it stays. */
const endedEarlySchema = problemSchema.omit({ errors: true }).extend(answerSchema.partial().shape)

const RETRY_SECONDS = 2

export function recipientsRoute(app: App, options: RecipientsRouteOptions): void {
  // A scope of its own: nothing else takes these types, and this takes no others.
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser([...TYPES], (_request, body, done) => done(null, body))
    scope.addContentTypeParser('*', (_request, _body, done) => done(refuseType()))
    scope.addHook('onSend', async (request, reply, payload) => {
      if (request.raw.complete || request.raw.readableEnded || typeof payload !== 'string') return payload
      reply.header('connection', 'close').header('content-length', Buffer.byteLength(payload))
      return Readable.from(lingering(payload, request.raw), { objectMode: false })
    })
    uploadRoute(scope as unknown as App, options)
  })
}

function uploadRoute(app: App, { storage, metrics, long, idleMs }: RecipientsRouteOptions): void {
  const { uploads, accounts } = storage
  const running = new Set<Received>()

  app.addHook('preClose', async () => {
    for (const received of running) {
      received.stop(new Problem('unavailable', 'The API is stopping.', { retryAfterSeconds: RETRY_SECONDS }))
    }
  })

  app.post(
    '/v1/campaigns/:id/recipients',
    {
      config: { scope: 'send', bodies: RECIPIENT_FILES },
      schema: {
        ...bearer,
        tags: ['campaigns'],
        summary: 'Upload recipients',
        description:
          'CSV or NDJSON in UTF-8, gzip with `Content-Encoding: gzip`, of any length, as often as wanted, until the ' +
          'campaign is finished or cancelled. Each row is checked with its variables filled in: what is accepted can ' +
          'be sent. The same recipient twice in a campaign is a duplicate: counted, not sent.\n\n' +
          'Rows are accepted as they arrive: an upload that breaks off leaves what was stored by then. Send the whole ' +
          'file again: with the same `Idempotency-Key` the answer is that of one unbroken upload, without one the ' +
          'rows that are there already count as duplicates.',
        params: campaignParams,
        response: {
          200: answerSchema,
          ...refusals(400, 404, 408, 409, 415, 422),
          400: {
            description: 'The file cannot be read (on); the rows before that place stay',
            content: { 'application/problem+json': { schema: endedEarlySchema } },
          },
        },
      },
    },
    async (request, reply) => {
      await storage.uploadsMustBeReady()
      const idempotencyKey = keyOf(request)
      const file = fileOf(request.headers)
      const record = await findCampaign(storage, request.params.id)
      const { id, definition } = record
      const key = idempotencyKey === undefined ? undefined : `${request.caller!.name}\n${idempotencyKey}`
      const earlier = key === undefined ? undefined : await uploads.uploaded(id, key)
      if (!earlier) mustBeOpen(record)
      const upload = new Upload({
        campaigns: uploads,
        id,
        // Also without one a chunk is stored once: its command may be sent again when a connection breaks.
        key: key ?? `once\n${randomUUID()}`,
        template: templateOf(record),
        stored: (counts) => metrics.rows(definition.account, counts),
      })
      const received = receive(request.raw, idleMs)
      const { socket } = request.raw
      running.add(received)
      long.add(socket)
      let unreadable: UnreadableFileError | undefined
      try {
        unreadable = await take(upload, received, file)
      } catch (error) {
        await upload.stop()
        throw endedEarly(error, upload.answer, request)
      } finally {
        received.release()
        running.delete(received)
        long.delete(socket)
      }
      if (earlier && (unreadable || upload.chunks !== earlier.chunks)) throw reusedKey()
      if (unreadable) throw refuseFile(unreadable, upload.answer, key !== undefined)
      if (earlier) {
        markReplayed(reply)
        return earlier.answer as UploadAnswer
      }
      if (key !== undefined) await remember(request, key, record, upload)
      const { errors: _, ...counts } = upload.answer
      request.log.info({ campaign: id.text, ...counts, by: request.caller?.name }, 'campaign.uploaded')
      return upload.answer
    },
  )

  function templateOf({ definition }: CampaignRecord): Template {
    const compiled = compileTemplate(definition.message, providerOf(accounts.get(definition.account)!))
    if ('template' in compiled) return compiled.template
    // It was sound when it was made: the account is another one by now.
    throw new Problem('conflict', "The account's provider cannot carry this campaign's message any more.")
  }

  async function remember(
    request: FastifyRequest,
    key: string,
    { id }: CampaignRecord,
    { chunks, answer }: Upload,
  ): Promise<void> {
    try {
      await uploads.completeUpload(id, key, chunks, answer)
    } catch (error) {
      // What was accepted is accepted; a repeat finds it chunk by chunk.
      request.log.warn({ reason: (error as Error).message }, 'campaign.answer_not_kept')
    }
  }
}

/** @returns why the file could not be read to its end, if so; what was read before that is stored */
async function take(
  upload: Upload,
  { body }: Received,
  file: ReturnType<typeof fileOf>,
): Promise<UnreadableFileError | undefined> {
  let unreadable: UnreadableFileError | undefined
  try {
    for await (const batch of readRows(body, file)) await upload.add(batch)
  } catch (error) {
    if (!(error instanceof UnreadableFileError)) throw error
    unreadable = error
  }
  await upload.end()
  return unreadable
}

const isOpen = ({ state, unfedAs }: CampaignRecord) =>
  unfedAs === undefined && state !== 'finished' && state !== 'cancelled'

function mustBeOpen(record: CampaignRecord): void {
  if (!isOpen(record)) throw closed(record.unfedAs === 'expired' ? 'expired' : record.state)
}

const closed = (state: CampaignState | 'expired', members?: Record<string, unknown>) =>
  new Problem('conflict', `The campaign is ${state} and takes no more recipients: make another one.`, {
    ...(members && { members }),
  })

/** What is told of an upload that did not come to its end. */
function endedEarly(error: unknown, answer: UploadAnswer, request: FastifyRequest): unknown {
  const members = { ...answer }
  if (error instanceof BrokenUploadError) {
    request.log.info({ accepted: answer.accepted }, 'campaign.upload_broken')
    return new Problem('invalid-request', 'The upload broke off.', { members })
  }
  if (error instanceof UploadEndedError) {
    if (error.end.kind === 'closed') return closed(error.end.state, members)
    return error.end.kind === 'conflict' ? reusedKey() : noSuchCampaign()
  }
  const problem = isRedisAway(error) ? storeAway() : error
  if (!(problem instanceof Problem)) return problem
  const { problem: name, retryAfterSeconds, message } = problem
  const reason = isRedisAway(error) ? 'The store does not answer any more.' : message
  return new Problem(name, `${reason} ${kept(answer)} ${againWords(request)}`, {
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    members,
  })
}

const againWords = ({ headers }: FastifyRequest) =>
  headers['idempotency-key'] === undefined
    ? 'Sending the file again is safe: rows that are there already count as duplicates.'
    : 'Sending the file again with the same Idempotency-Key is safe: it gives the numbers of one upload.'

function kept({ accepted }: UploadAnswer): string {
  if (accepted === 0) return 'None of its rows was accepted for sure.'
  return `${accepted} of its rows ${accepted === 1 ? 'is' : 'are'} accepted and stay${accepted === 1 ? 's' : ''}.`
}

function refuseFile({ message, line }: UnreadableFileError, answer: UploadAnswer, keyed: boolean): Problem {
  const { accepted } = answer
  const at = line === undefined || message.includes(`line ${line}`) ? '' : `line ${line}: `
  const stay =
    accepted === 0
      ? 'Nothing was accepted.'
      : `${accepted} rows before that were accepted and stay; in a mended file they count as duplicates.`
  const again = keyed && accepted > 0 ? ' Send that under another Idempotency-Key.' : ''
  return new Problem('invalid-request', `The file cannot be read: ${at}${message}. ${stay}${again}`, {
    members: { ...answer },
  })
}
