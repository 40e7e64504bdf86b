/** The measured processes: their output goes to a file, so that reading it costs nobody a part of the machine. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { checkoutDir } from '../scripts/checkout.ts'
import { guard } from '../scripts/guard.ts'

export interface Program {
  readonly name: string
  readonly pid: number
  /** Waits until `url` answers with 2xx. @throws when the process ends first, or after 30 s */
  ready(url: string): Promise<void>
  /** @throws when it has ended, with the end of what it wrote */
  mustRun(): void
  /** SIGKILL, on purpose. */
  kill(): Promise<void>
  /** SIGTERM, and SIGKILL after 30 s; repeatable. @throws when it does not end with 0 */
  stop(): Promise<void>
}

export interface ProgramOptions {
  name: string
  /** From the checkout's root if it is not absolute. */
  entry: string
  args?: string[]
  /** A module that is loaded in front of it, from the checkout's root. */
  preload?: string
  env: Record<string, string>
  /** Where its output goes, and its CPU profile. */
  directory: string
  /** Whether it writes a CPU profile when it ends. */
  profiled?: boolean
}

/** Starts it with the Node that runs this. It is ended with us, however we end. */
export async function startProgram(options: ProgramOptions): Promise<Program> {
  const { name, directory, profiled = false } = options
  mkdirSync(directory, { recursive: true })
  const logFile = join(directory, `${name}.log`)
  const log = openSync(logFile, 'a')
  const entry = isAbsolute(options.entry) ? options.entry : join(checkoutDir, options.entry)
  const profile = profiled
    ? ['--cpu-prof', '--cpu-prof-dir', directory, '--cpu-prof-name', `${name}.cpuprofile`]
    : []
  const preload = options.preload ? ['--import', pathToFileURL(join(checkoutDir, options.preload)).href] : []
  const child = spawn(process.execPath, [...profile, ...preload, entry, ...(options.args ?? [])], {
    cwd: checkoutDir,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', log, log],
    detached: process.platform !== 'win32',
  })
  closeSync(log)
  await once(child, 'spawn')
  child.once('exit', guard({ pid: child.pid! }))
  const exited = once(child, 'exit')
  let killed = false
  const failure = (what: string) => {
    const tail = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-10).join('\n')
    return new Error(`${name}: ${what}:\n${tail}`)
  }
  const mustRun = () => {
    if (hasEnded(child)) throw failure(`ended with ${child.exitCode ?? child.signalCode}`)
  }

  return {
    name,
    pid: child.pid!,
    mustRun,
    async ready(url) {
      const deadline = performance.now() + 30_000
      while (!(await answers(url))) {
        mustRun()
        if (performance.now() > deadline) throw failure(`${url} did not answer`)
        await sleep(50)
      }
    },
    async kill() {
      killed = true
      child.kill('SIGKILL')
      await exited
    },
    async stop() {
      if (!hasEnded(child)) child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
      if (!hasEnded(child)) await exited
      clearTimeout(timer)
      if (child.exitCode !== 0 && !killed) throw failure(`ended with ${child.exitCode ?? child.signalCode}`)
    },
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1_000) })
    await response.body?.cancel()
    return response.ok
  } catch {
    return false
  }
}
