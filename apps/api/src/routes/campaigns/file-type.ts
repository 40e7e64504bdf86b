/** What a file of recipients may be sent as. */
import type { IncomingHttpHeaders } from 'node:http'
import { Problem } from '../../problems.ts'
import type { ReadOptions } from '../../recipients/read-rows.ts'

const FORMATS: Record<string, ReadOptions['format']> = {
  'application/x-ndjson': 'ndjson',
  'text/csv': 'csv',
}
export const TYPES = Object.keys(FORMATS)

const GZIP: Record<string, boolean> = { '': false, identity: false, gzip: true, 'x-gzip': true }

export const refuseType = () =>
  new Problem(
    'unsupported-media-type',
    'Send a file of recipients: Content-Type text/csv or application/x-ndjson, in UTF-8.',
  )

/** @throws {Problem} 415 for what is not taken */
export function fileOf(headers: IncomingHttpHeaders): Pick<ReadOptions, 'format' | 'gzip'> {
  const [type = '', ...parameters] = (headers['content-type'] ?? '').toLowerCase().split(';')
  const format = FORMATS[type.trim()]
  const charset = parameters.find((parameter) => parameter.trim().startsWith('charset='))
  const isUtf8 = charset === undefined || /^\s*charset="?(?:utf-?8|us-ascii)"?\s*$/.test(charset)
  if (!format || !isUtf8) throw refuseType()
  const gzip = GZIP[(headers['content-encoding'] ?? '').trim().toLowerCase()]
  if (gzip === undefined) {
    throw new Problem('unsupported-media-type', 'Send the file as it is, or with Content-Encoding: gzip.')
  }
  return { format, gzip }
}

/** For the OpenAPI document. */
export const RECIPIENT_FILES = {
  'text/csv': {
    schema: {
      type: 'string',
      description:
        'A header line with `to`, if wanted `reference`, and a column for each variable, by its name',
      examples: [
        'to,reference,name\n+919876543210,order-1042,Asha\n+919876543211,order-1043,"Rao, Vikram"\n',
      ],
    },
  },
  'application/x-ndjson': {
    schema: {
      type: 'string',
      description: 'An object a line: `{ "to", "variables": { … }, "reference"? }`',
      examples: [
        '{"to":"+919876543210","reference":"order-1042","variables":{"name":"Asha"}}\n{"to":"+919876543211","variables":{"name":"Vikram"}}\n',
      ],
    },
  },
}
