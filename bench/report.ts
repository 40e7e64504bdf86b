/** What the README says. */
import { availableParallelism, cpus } from 'node:os'
import type { AcceptedRound } from './accept.ts'
import type { Dispatched } from './dispatch.ts'
import { concurrency } from './given.ts'
import type { House } from './house.ts'
import type { Options } from './options.ts'
import type { Pair } from './pairs.ts'
import { finishedTable, importTable, runningTable, scaleTable } from './report-campaigns.ts'
import { limitsTable } from './report-limits.ts'
import { receiptsTable } from './report-receipts.ts'
import type { Results } from './run.ts'
import { count, markdownTable, row } from './table.ts'

/**
 * @param command how to get the same again
 * @returns Markdown: a table for each part that was measured, with what stands in it
 */
export function report(
  results: Results,
  options: Options,
  command: string,
  house: Pick<House, 'redisVersion'>,
  now = new Date(),
): string {
  const { dispatch, accept, import: imported, scale, running, memory, receipts, limits } = results
  const tables = [
    dispatch && dispatchTable(dispatch, options),
    accept && acceptTable(accept, options),
    imported && importTable(imported, options),
    scale && scaleTable(scale, options),
    running && runningTable(running, options),
    memory && finishedTable(memory, options),
    receipts && receiptsTable(receipts, options),
    limits && limitsTable(limits, options),
  ]
  const made = `Medians of the rounds of each side, in turn, on the same Redis; *ratio*: the median of the pairs (lowest–highest). Made with
\`${command}\` on ${now.toISOString().slice(0, 10)}: Node ${process.versions.node}, ${house.redisVersion}, ${availableParallelism()} cores (${cpus()[0]?.model.trim() || 'unknown'}) for all processes together.`
  return [...tables.filter((table) => table !== undefined), made].join('\n\n')
}

function dispatchTable(pairs: Pair<Dispatched>[], { messages }: Options): string {
  const table = markdownTable(
    ['dispatching', 'wa-dispatch', 'script'],
    [
      row('messages per second', pairs, (one) => one.perSecond, 'whole'),
      row('CPU of the worker per message', pairs, (one) => one.cpuMs, 'milliseconds'),
      row('CPU of Redis per message', pairs, (one) => one.redisCpuMs, 'milliseconds'),
      row('commands in Redis per message, within scripts too', pairs, (one) => one.redisCommands, 'calls'),
      row('memory of Redis per finished message', pairs, (one) => one.memoryBytes, 'bytes'),
    ],
  )
  return `${table}

*script*: a BullMQ worker with one \`got.post\` in it, both with their defaults, no ledger, no limit, no log. ${count(pairs.length, 'round')} of each:
${messages.toLocaleString('en')} reply-button messages that were accepted before, ${concurrency} in flight, from the first to the last arrival at the same simulator, which answers at once.`
}

function acceptTable(pairs: Pair<AcceptedRound>[], { seconds }: Options): string {
  const table = markdownTable(
    ['accepting', 'wa-dispatch', 'bare route'],
    [
      row('requests per second', pairs, (one) => one.perSecond, 'whole'),
      row('CPU of the API per request', pairs, (one) => one.cpuMs, 'milliseconds'),
      row('CPU of Redis per request', pairs, (one) => one.redisCpuMs, 'milliseconds'),
      row('commands in Redis per request, within scripts too', pairs, (one) => one.redisCommands, 'calls'),
    ],
  )
  return `${table}

*bare route*: Fastify without a logger and a route that does \`queue.add(request.body)\`: no validation, no key, no ledger. ${count(pairs.length, 'round')} of each: ${seconds} s of autocannon with 50 connections.`
}
