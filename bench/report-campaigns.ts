/** What the README says of campaigns. */
import type { Finished } from './finished.ts'
import type { ImportResult } from './import.ts'
import type { Options } from './options.ts'
import { median, type Pair } from './pairs.ts'
import { PER_SECOND, type Running, WEIGHTS } from './running.ts'
import type { Sent } from './scale.ts'
import { share, WINDOW_SECONDS } from './served.ts'
import { SLOW_MS, type SlowCommands } from './slow-commands.ts'
import { count, figuresTable, markdownTable, row } from './table.ts'

export function importTable({ pairs, slow }: ImportResult, { rows }: Options): string {
  const table = markdownTable(
    [`importing ${rows.toLocaleString('en')} recipients`, 'wa-dispatch', '`addBulk`'],
    [
      row('rows per second', pairs, (one) => one.perSecond, 'whole'),
      row('CPU of the API per row', pairs, (one) => one.cpuMs, 'microseconds'),
      row('CPU of Redis per row', pairs, (one) => one.redisCpuMs, 'microseconds'),
      row('memory of Redis per row', pairs, (one) => one.memoryBytes, 'bytes'),
      row('most memory of the API', pairs, (one) => one.peakMemoryBytes, 'megabytes'),
    ],
  )
  return `${table}

*\`addBulk\`*: a loop that reads the same CSV file (\`to,name,order\`) with csv-parse and adds jobs of these three fields, 1,000 at a time: no check of a row,
no duplicates, no message. ${count(pairs.length, 'round')} of each, every time a fresh process. Commands that kept Redis for ${SLOW_MS} ms or longer during our imports: ${told(slow)}.`
}

export function scaleTable(pairs: Pair<Sent>[], { rows, 'few-rows': fewRows }: Options): string {
  const table = markdownTable(
    ['sending a campaign', `${rows.toLocaleString('en')} rows`, `${fewRows.toLocaleString('en')} rows`],
    [
      row('messages per second', pairs, (one) => one.perSecond, 'whole'),
      row('CPU of the worker per message', pairs, (one) => one.cpuMs, 'milliseconds'),
      row('CPU of Redis per message', pairs, (one) => one.redisCpuMs, 'milliseconds'),
      row('commands in Redis per message, within scripts too', pairs, (one) => one.redisCommands, 'calls'),
      row('rows made messages, per message sent', pairs, (one) => one.fed, 'times'),
    ],
  )
  return `${table}

The same worker, no limit in the way, ${fewRows.toLocaleString('en')} messages in each of ${count(pairs.length, 'round')}: the small campaign from start to end, of the large one as many while its lane is kept full.`
}

export function runningTable(running: Running, { rows }: Options): string {
  const { waitsMs, pausedMs, cancelledMs, worstDeviation, perSecond, windows, windowSeconds, slow } = running
  const ms = (value: number) => `${Math.round(value).toLocaleString('en')} ms`
  const seconds = Math.round(windowSeconds)
  const table = figuresTable(
    `while a campaign of ${rows.toLocaleString('en')} rows runs at ${PER_SECOND} a second`,
    [
      [`transactional message, accepted → arrival: p50`, ms(share(waitsMs, 0.5))],
      [`transactional message, accepted → arrival: p99`, ms(share(waitsMs, 0.99))],
      [
        `two campaigns of weights ${WEIGHTS.join(' and ')}: furthest from ${WEIGHTS.join(':')} in any ${seconds} s`,
        `${(worstDeviation * 100).toFixed(1)} %`,
      ],
      ['its last arrival after a pause was answered', ms(Math.max(...pausedMs))],
      ['its last arrival after the cancel was answered', ms(cancelledMs)],
      [`commands that kept Redis for ${SLOW_MS} ms or longer`, told(slow)],
    ],
  )
  const shorter = seconds < WINDOW_SECONDS ? ' (the run was shorter)' : ''
  return `${table}

One worker; ${waitsMs.length.toLocaleString('en')} transactional messages through the API, one by one at random moments (median ${ms(median(waitsMs))}, longest ${ms(waitsMs.at(-1)!)});
the two campaigns together ${perSecond.toFixed(1)} a second, ${count(windows, 'window')} of ${seconds} s${shorter}; the latest of ${count(pausedMs.length, 'pause')}, 0 when nothing came after it.`
}

export function finishedTable({ memoryBytes, perSecond }: Finished, { 'sent-rows': rows }: Options): string {
  return `${figuresTable(`a finished campaign of ${rows.toLocaleString('en')} rows`, [
    [
      'memory of Redis per row, with its message, attempt and request id',
      `${Math.round(memoryBytes).toLocaleString('en')} B`,
    ],
    ['messages per second, rows made messages meanwhile', Math.round(perSecond).toLocaleString('en')],
  ])}`
}

function told({ count, worst, starvedMs }: SlowCommands): string {
  if (!worst) return String(count)
  const starved =
    starvedMs === undefined
      ? ''
      : `; Redis itself waited ${(starvedMs / 1_000).toFixed(1)} s for a processor meanwhile`
  return `${count} (longest ${Math.round(worst.ms)} ms: \`${worst.command}\`${starved})`
}
