/** What the README says. */
import { availableParallelism, cpus } from 'node:os'
import type { AcceptedRound } from './accept.ts'
import type { Dispatched } from './dispatch.ts'
import { concurrency, type House } from './house.ts'
import type { Pair } from './pairs.ts'
import { markdownTable, row } from './table.ts'

export interface Results {
  dispatched: Pair<Dispatched>[]
  accepted: Pair<AcceptedRound>[]
  /** In each round. */
  messages: number
  seconds: number
  command: string
}

/** @returns Markdown: two tables with what stands in them and how to get them again */
export function report(results: Results, house: Pick<House, 'redisVersion'>, now = new Date()): string {
  const { dispatched, accepted, messages, seconds, command } = results
  const dispatchTable = markdownTable(
    ['dispatching', 'wa-dispatch', 'script'],
    [
      row('messages per second', dispatched, (one) => one.perSecond, 'whole'),
      row('CPU of the worker per message', dispatched, (one) => one.cpuMs, 'milliseconds'),
      row('CPU of Redis per message', dispatched, (one) => one.redisCpuMs, 'milliseconds'),
      row(
        'commands in Redis per message, within scripts too',
        dispatched,
        (one) => one.redisCommands,
        'calls',
      ),
      row('memory of Redis per finished message', dispatched, (one) => one.memoryBytes, 'bytes'),
    ],
  )
  const acceptTable = markdownTable(
    ['accepting', 'wa-dispatch', 'bare route'],
    [
      row('requests per second', accepted, (one) => one.perSecond, 'whole'),
      row('CPU of the API per request', accepted, (one) => one.cpuMs, 'milliseconds'),
      row('CPU of Redis per request', accepted, (one) => one.redisCpuMs, 'milliseconds'),
      row('commands in Redis per request, within scripts too', accepted, (one) => one.redisCommands, 'calls'),
    ],
  )
  return `
${dispatchTable}

*script*: a BullMQ worker with one \`got.post\` in it, both with their defaults, no ledger, no limit, no log. Each round:
${messages.toLocaleString('en')} reply-button messages that were accepted before, ${concurrency} in flight, from the first to the last arrival at the same simulator, which answers at once.

${acceptTable}

*bare route*: Fastify without a logger and a route that does \`queue.add(request.body)\`: no validation, no key, no ledger. Each round: ${seconds} s of autocannon with 50 connections.

Medians of ${dispatched.length} rounds of each side, in turn, on the same Redis; *ratio*: the median of the pairs (lowest–highest). Made with
\`${command}\` on ${now.toISOString().slice(0, 10)}: Node ${process.versions.node}, ${house.redisVersion}, ${availableParallelism()} cores (${cpus()[0]?.model.trim() || 'unknown'}) for all processes together.
`.trim()
}
