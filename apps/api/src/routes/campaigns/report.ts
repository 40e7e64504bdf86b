/** `GET /v1/campaigns/:id/report`: one row a recipient, as a stream. */
import { Readable } from 'node:stream'
import { type CampaignRecord, campaignRowChunks } from '@wa-dispatch/dispatch'
import { z } from 'zod'
import type { App } from '../../app.ts'
import { bearer, refusals } from '../../openapi.ts'
import { Problem } from '../../problems.ts'
import type { Storage } from '../../storage.ts'
import { findCampaign } from './find-campaign.ts'
import { type CampaignRouteOptions, campaignParams } from './index.ts'
import { chooseFormat, REPORT_FORMATS, type ReportFormat, reportRowSchema } from './report-format.ts'

const DESCRIPTION = `One row a recipient, in the order of the uploads, as \`text/csv\` or \`application/x-ndjson\`, whichever
\`Accept\` asks for. Rows that are no messages yet are \`queued\`, or what became of them when the campaign was cancelled or
expired. A campaign that is at rest has as many rows in each state as its \`counts\` say.

In CSV (RFC 4180, with a head), a cell that a spreadsheet would run as a formula, because it begins with \`=\`, \`+\`, \`-\`, \`@\`,
a tab or a line end and is no plain number, begins with an apostrophe instead. NDJSON has every text as it is.

A report that breaks off, because the store went away, ends the connection without the end of the body: what was read
until then is incomplete, and clients see an error.`

const KIBIBYTES_AHEAD = 64

export function reportRoute(app: App, { storage }: CampaignRouteOptions): void {
  app.get(
    '/v1/campaigns/:id/report',
    {
      config: { scope: 'read' },
      // Otherwise a HEAD would read the rows to the last one.
      exposeHeadRoute: false,
      schema: {
        ...bearer,
        tags: ['campaigns'],
        summary: 'One row a recipient',
        description: DESCRIPTION,
        params: campaignParams,
        querystring: z.strictObject({}),
        response: {
          200: {
            description: 'The report',
            content: {
              'text/csv': { schema: z.string() },
              'application/x-ndjson': { schema: reportRowSchema },
            },
          },
          ...refusals(400, 404, 406),
        },
      },
    },
    async (request, reply) => {
      const format = chooseFormat(request.headers.accept)
      if (!format) {
        const types = REPORT_FORMATS.map(({ type }) => type).join(' or ')
        throw new Problem('not-acceptable', `A report comes as ${types}.`)
      }
      storage.mustBeOpen()
      const campaign = await findCampaign(storage, request.params.id)
      // As bytes, or it would count strings and read sixteen chunks ahead for a client that does not.
      const body = Readable.from(reportOf(storage, campaign, format), {
        objectMode: false,
        highWaterMark: KIBIBYTES_AHEAD * 1_024,
      })
      return reply
        .type(format.contentType)
        .header('content-disposition', `attachment; filename="${campaign.id.text}.${format.extension}"`)
        .header('vary', 'accept')
        .send(body as never)
    },
  )
}

async function* reportOf(
  { campaigns, ledger }: Storage,
  campaign: CampaignRecord,
  { head, write }: ReportFormat,
): AsyncGenerator<string, void, void> {
  if (head) yield head
  for await (const rows of campaignRowChunks(campaigns, ledger, campaign)) {
    if (rows.length > 0) yield write(rows)
  }
}
