/** What the simulator remembers of a message that it took. */
export interface TakenMessage {
  recipient: string
  type: 'reaction' | 'interactive'
  requestId: string
}

/** What the simulator remembers of a request, taken or not. */
export interface ArrivedRequest {
  /** Grows by one. */
  seq: number
  recipient: string
  accepted: boolean
  answer: { code: string }
  /** When its headers arrived; milliseconds since 1970. */
  atMs: number
}

/** Forgets what an earlier run had the simulator do; its rules begin anew. */
export async function resetSimulator(simulatorUrl: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(`${simulatorUrl}/simulator/reset`, { method: 'POST', signal })
  if (!response.ok) throw new Error(`the simulator cannot be reset: ${response.status}`)
}

/** Every message that the simulated providers took, as often as they took it. */
export const takenMessages = (simulatorUrl: string, signal: AbortSignal): Promise<TakenMessage[]> =>
  readRequests(simulatorUrl, { accepted: 'true' }, signal)

/** Every request that came in on a sender after `seq`, oldest first, whatever became of it. */
export const arrivedRequests = (
  simulatorUrl: string,
  sender: string,
  signal: AbortSignal,
  seq = 0,
): Promise<ArrivedRequest[]> => readRequests(simulatorUrl, { account: sender, after: String(seq) }, signal)

async function readRequests<Item>(
  simulatorUrl: string,
  filters: Record<string, string>,
  signal: AbortSignal,
): Promise<Item[]> {
  const query = new URLSearchParams({ ...filters, detail: 'false', format: 'ndjson' })
  const response = await fetch(`${simulatorUrl}/simulator/requests?${query}`, { signal })
  if (!response.ok) throw new Error(`the simulator does not tell what came in: ${response.status}`)
  const lines = (await response.text()).split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line))
}

/** One status of one message that a provider told, or is to tell. */
export interface ToldReceipt {
  requestId: string
  /** Our id, where the provider echoes it. */
  reference: string | null
  status: string
  state: 'pending' | 'acknowledged' | 'given-up' | 'silent'
}

/** What the providers told, or are to tell; what has nowhere to go is left out. */
export async function toldReceipts(simulatorUrl: string, signal: AbortSignal): Promise<ToldReceipt[]> {
  const response = await fetch(`${simulatorUrl}/simulator/receipts?format=ndjson`, { signal })
  if (!response.ok) throw new Error(`the simulator does not tell what it told: ${response.status}`)
  const lines = (await response.text()).split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line) as ToldReceipt).filter(({ state }) => state !== 'silent')
}

/** Gives a provider the address for a sender's receipts. @param sender `provider/account` */
export async function sendReceiptsTo(
  simulatorUrl: string,
  sender: string,
  { url, token }: { url: string; token: string },
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(`${simulatorUrl}/simulator/accounts/${sender}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ receiptUrl: url, receiptToken: token }),
    signal,
  })
  if (!response.ok) throw new Error(`the simulator takes no address for receipts: ${response.status}`)
}

/** Lets a sender pay for so many messages more. */
export async function refill(
  simulatorUrl: string,
  sender: string,
  amount: number,
  signal: AbortSignal,
): Promise<void> {
  const response = await fetch(`${simulatorUrl}/simulator/accounts/kaleyra/${sender}/refill`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ amount }),
    signal,
  })
  if (!response.ok) throw new Error(`the simulator cannot be given money: ${response.status}`)
}
