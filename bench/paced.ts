/** Requests at a given rate, whether or not the ones before are answered: who waits for answers asks less of the slow. */
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const STEP_MS = 10

export interface PacedOptions {
  url: string
  headers: Record<string, string>
  perSecond: number
  seconds: number
  /** @param number from 0 */
  body: (number: number) => string
}

export interface Answered {
  /** What was answered, in the order of the answers. */
  answers: string[]
  /** From the moment each was to be sent to the end of its answer, in ms, in ascending order. */
  waitsMs: number[]
  /** By which the last ones were sent, from the first. */
  seconds: number
}

/** @throws when one is not answered with 202 */
export async function paced(options: PacedOptions): Promise<Answered> {
  const { perSecond, seconds, body } = options
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 1_000 })
  const answers: string[] = []
  const waitsMs: number[] = []
  const under: Promise<void>[] = []
  const count = perSecond * seconds
  const from = performance.now()
  const sendAt = (number: number) => from + (number * 1_000) / perSecond
  let failure: Error | undefined
  try {
    for (let sent = 0; sent < count && !failure; await sleep(STEP_MS)) {
      for (; sent < count && sendAt(sent) <= performance.now(); sent++) {
        const due = sendAt(sent)
        const answered = post(agent, options, body(sent)).then(
          (answer) => {
            answers.push(answer)
            waitsMs.push(performance.now() - due)
          },
          (error: Error) => {
            failure ??= error
          },
        )
        under.push(answered)
      }
    }
    const lasted = (performance.now() - from) / 1_000
    await Promise.all(under)
    if (failure) throw failure
    return { answers, waitsMs: waitsMs.sort((a, b) => a - b), seconds: lasted }
  } finally {
    agent.destroy()
  }
}

/** Again where the API closed a kept connection just when it was used, as any client does. */
async function post(agent: Agent, options: PacedOptions, body: string): Promise<string> {
  try {
    return await postOnce(agent, options, body)
  } catch (error) {
    if (!(error instanceof StaleConnection)) throw error
    return postOnce(agent, options, body)
  }
}

class StaleConnection extends Error {}

/** node:http itself: fetch costs several times as much at a thousand a second. */
function postOnce(agent: Agent, { url, headers }: PacedOptions, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const length = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const sending = request(url, { method: 'POST', agent, headers: { ...headers, ...length } }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        text += part
      })
      answer.on('error', reject)
      answer.on('end', () =>
        answer.statusCode === 202 ? resolve(text) : reject(new Error(`${url}: ${answer.statusCode} ${text}`)),
      )
    })
    sending.setTimeout(60_000, () => sending.destroy(new Error(`${url} did not answer within 60 s`)))
    sending.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        sending.reusedSocket && error.code === 'ECONNRESET' ? new StaleConnection(error.message) : error,
      ),
    )
    sending.end(body)
  })
}
