/** What the simulated providers say of messages later, and what came of it here and at the caller. */
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MessageView } from '@wa-dispatch/dispatch'
import type { ApiClient } from './client.ts'
import type { Receiver } from './receiver.ts'
import { sendReceiptsTo, type ToldReceipt, toldReceipts } from './simulator.ts'
import { type Check, outcomeOf, type Tally } from './tally.ts'

/** Where something hangs, the run goes on and its sums say so. */
const longestWaitMs = 30_000

/** As one does by hand with a provider that has a page for it; Zixflow is told with each message. */
export async function registerAddresses(
  accountsFile: string,
  { apiUrl, simulatorUrl }: { apiUrl: string; simulatorUrl: string },
  signal: AbortSignal,
): Promise<void> {
  const { accounts } = JSON.parse(await readFile(accountsFile, 'utf8'))
  for (const { id, provider, sender, appId, receiptToken } of accounts) {
    const name = sender ?? appId
    if (!receiptToken || !name) continue
    const url = `${apiUrl}/v1/receipts/${id}`
    await sendReceiptsTo(simulatorUrl, `${provider}/${name}`, { url, token: receiptToken }, signal)
  }
}

/** Waits until the providers have told everything and the caller was told of it. @returns what they told */
export async function hearReceipts(
  api: ApiClient,
  simulatorUrl: string,
  { views }: Tally,
  signal: AbortSignal,
): Promise<ToldReceipt[]> {
  const deadline = performance.now() + longestWaitMs
  for (;;) {
    const told = await toldReceipts(simulatorUrl, signal)
    const isSaid = told.every(({ state }) => state !== 'pending') && (await api.receiptsWaiting()) === 0
    for (const view of await api.messages([...views.keys()])) views.set(view.id, view)
    const isTold = [...views.values()].every(({ post_backs: events = [] }) =>
      events.every(({ status }) => status === 'delivered'),
    )
    if ((isSaid && isTold) || performance.now() > deadline) return told
    await sleep(200, undefined, { signal })
  }
}

/** Messages whose answer was lost, and whose receipts say that they arrived. */
export const settledByReceipts = (views: Iterable<MessageView>): MessageView[] =>
  [...views].filter(
    (view) => outcomeOf(view) === 'submitted' && view.attempts.at(-1)?.outcome === 'uncertain',
  )

/** How many of what was told are on their messages, and how many are about an answer that was lost. */
export function matchReceipts(views: Iterable<MessageView>, told: readonly ToldReceipt[]) {
  const byName = new Map<string, MessageView>()
  for (const view of views) {
    byName.set(view.id, view)
    if (view.request_id) byName.set(view.request_id, view)
  }
  let onMessage = 0
  let missing = 0
  const unmatched = new Set<string>()
  for (const { reference, requestId, status } of distinct(told)) {
    const view = byName.get(reference ?? '') ?? byName.get(requestId)
    if (!view) unmatched.add(requestId)
    else if (view.receipts.some((receipt) => receipt.status === status)) onMessage += 1
    else missing += 1
  }
  return { onMessage, missing, unmatched }
}

/** Providers repeat themselves. */
const distinct = (told: readonly ToldReceipt[]): ToldReceipt[] => [
  ...new Map(told.map((receipt) => [`${receipt.requestId} ${receipt.status}`, receipt])).values(),
]

/** Holds what the providers said, what the API tells and what the caller heard against each other. */
export function checkReceipts(
  { views }: Tally,
  told: readonly ToldReceipt[],
  listed: ReadonlySet<string>,
  { heard, refused }: Pick<Receiver, 'heard' | 'refused'>,
): Check[] {
  const { onMessage, missing, unmatched } = matchReceipts(views.values(), told)
  const concluded = [...views.values()].filter((view) => outcomeOf(view) !== 'uncertain')
  const isTold = ({ id, state, post_backs: events = [] }: MessageView) => {
    const types = heard.get(id) ?? []
    return types.at(-1) === `message.${state}` && String(types) === String(events.map(({ type }) => type))
  }
  return [
    {
      what: `${onMessage} receipts are on their messages, those of ${unmatched.size} unknown request ids are listed`,
      holds:
        missing === 0 &&
        told.every(({ state }) => state === 'acknowledged') &&
        [...unmatched].every((requestId) => listed.has(requestId)),
    },
    {
      what: `the caller was told of ${concluded.length} messages: signed, in order, up to the last state`,
      holds: refused() === 0 && concluded.every(isTold),
    },
  ]
}
