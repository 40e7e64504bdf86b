import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { isAbsolute, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkoutDir } from './checkout.ts'
import { guard } from './guard.ts'

/** How a process ended: exactly one of the two is set. */
export interface ProcessExit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface StartOptions {
  /** Used in messages only. */
  name: string
  /** The TypeScript or JavaScript file to run, from the checkout's root if it is not absolute. */
  entry: string
  args?: readonly string[]
  /** Added to this process's own environment; `undefined` takes a variable away. */
  env?: Readonly<Record<string, string | undefined>>
  cwd?: string
  /** Called with each piece of output as it comes. */
  onOutput?: (text: string) => void
}

/** A Node process that was started here and does not outlive us. */
export interface StartedProcess {
  readonly name: string
  readonly pid: number
  /** Set once it has ended. */
  readonly exit: ProcessExit | undefined
  readonly exited: Promise<ProcessExit>
  /** The newest part of what it wrote to both streams, at most 1 MiB. */
  output(): string
  /** Waits until its output matches. Throws when it ends first or after `timeoutMs` (default 30,000). */
  outputMatch(pattern: RegExp, options?: { timeoutMs?: number }): Promise<RegExpMatchArray>
  /** Waits until `url` answers with 2xx. Throws when it ends first or after `timeoutMs` (default 30,000). */
  ready(url: string, options?: { timeoutMs?: number }): Promise<void>
  kill(signal: NodeJS.Signals): void
  /** SIGTERM, and SIGKILL after `timeoutMs` (default 10,000). Resolves when it has ended; repeatable. */
  stop(options?: { timeoutMs?: number }): Promise<ProcessExit>
}

const keptOutput = 1024 * 1024

/** Starts `entry` with the Node that runs this. It is ended with us, however we end. */
export async function startProcess(options: StartOptions): Promise<StartedProcess> {
  const entry = isAbsolute(options.entry) ? options.entry : join(checkoutDir, options.entry)
  const child = spawn(process.execPath, [entry, ...(options.args ?? [])], {
    cwd: options.cwd ?? checkoutDir,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: Ctrl-C is ours to turn into one orderly stop.
    detached: process.platform !== 'win32',
  })
  await once(child, 'spawn')
  return watchProcess(options, child, child.pid!)
}

function watchProcess(options: StartOptions, child: ChildProcess, pid: number): StartedProcess {
  const { name } = options
  const release = guard({ pid })
  let output = ''
  let exit: ProcessExit | undefined
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-keptOutput)
      options.onOutput?.(text)
    })
  }
  child.once('exit', release)
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('close', (code, signal) => {
      exit = { code, signal }
      resolve(exit)
    })
  })

  /** Repeats `attempt` until it gives something, the process has ended, or the time is over. */
  async function until<T>(
    what: string,
    timeoutMs: number,
    attempt: () => Promise<T | undefined> | T | undefined,
  ) {
    const deadline = performance.now() + timeoutMs
    for (;;) {
      const ended = exit
      const found = await attempt()
      if (found !== undefined && found !== null) return found
      const tail = () => output.trimEnd().split('\n').slice(-20).join('\n')
      if (ended) throw new Error(`${name} ended (${describeExit(ended)}) before ${what}:\n${tail()}`)
      if (performance.now() > deadline)
        throw new Error(`${name}: not ${what} after ${timeoutMs} ms:\n${tail()}`)
      await sleep(50)
    }
  }

  return {
    name,
    pid,
    get exit() {
      return exit
    },
    exited,
    output: () => output,
    outputMatch: (pattern, { timeoutMs = 30_000 } = {}) =>
      until(`its output matched ${pattern}`, timeoutMs, () => output.match(pattern) ?? undefined),
    ready: async (url, { timeoutMs = 30_000 } = {}) => {
      await until(`${url} answered`, timeoutMs, () => (exit ? undefined : answers(url)))
    },
    kill: (signal) => {
      if (!exit) child.kill(signal)
    },
    stop: async ({ timeoutMs = 10_000 } = {}) => {
      if (exit) return exit
      child.kill('SIGTERM')
      // A process that a test had frozen hears nothing before it runs again.
      child.kill('SIGCONT')
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
      try {
        return await exited
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

async function answers(url: string): Promise<true | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) })
    await response.body?.cancel()
    return response.ok ? true : undefined
  } catch {
    return undefined
  }
}

function describeExit({ code, signal }: ProcessExit): string {
  return signal ? `signal ${signal}` : `exit code ${code}`
}

/**
 * A port of 127.0.0.1 that nobody listens on. From below the range that systems take for outgoing
 * connections (32768 and up on Linux): there, a client that keeps trying to reach a server that is down
 * can be given the server's own port, connect to itself, and keep the server from coming back.
 * @param wanted this one, if it is free
 */
export async function freePort(wanted?: number): Promise<number> {
  for (let first = true; ; first = false) {
    const port = first && wanted !== undefined ? wanted : 15_000 + Math.floor(Math.random() * 17_000)
    const server = createServer().listen({ port, host: '127.0.0.1', exclusive: true })
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('listening', () => resolve(true)).once('error', () => resolve(false))
    })
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

/** Whether a process of that id runs, ours or not. One that has ended and waits to be collected does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  try {
    return !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}
