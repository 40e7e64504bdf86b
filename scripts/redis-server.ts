import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { guard } from './guard.ts'
import { freePort } from './processes.ts'
import { endStale, newDataDir, recordOwner } from './redis-leftovers.ts'
import { findRedisServer, type RedisServer } from './redis-program.ts'

export interface PrivateRedisOptions {
  /** Where its data lies; kept on `stop`. Without one, a new folder in the cache, removed on `stop`. */
  dir?: string
  /** A free one by default. */
  port?: number
  /** More of redis-server's own arguments: `['--maxmemory', '100mb']`. */
  args?: readonly string[]
  server?: RedisServer
}

/** A server of our own on 127.0.0.1 with AOF and noeviction, which does not outlive us. */
export interface PrivateRedis {
  readonly url: string
  readonly port: number
  /** Of the running server; after `restart` it is another. */
  readonly pid: number
  readonly dir: string
  /** Sends the signal; resolves when the server has ended, or at once for SIGSTOP and SIGCONT. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts it again on the same port and data, ending it in good order first if it runs. */
  restart(): Promise<void>
  /** Ends it; SIGKILL after 5 seconds. */
  stop(): Promise<void>
}

/** Starts a private server and waits until it answers. Throws with the end of its log when it does not. */
export async function startPrivateRedis(options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  const server = options.server ?? (await findRedisServer())
  if (!server) throw new Error('There is no redis-server or valkey-server on this machine.')
  const dir = options.dir ?? (await newDataDir())
  await mkdir(dir, { recursive: true })
  endStale(dir)

  const removeOwnDir = async () => {
    if (!options.dir) await rm(dir, { recursive: true, force: true, maxRetries: 3 })
  }
  const launched = await launchOnPort(server, dir, options).catch(async (error) => {
    await removeOwnDir()
    throw error
  })
  const { port } = launched
  let current = launched.running

  const end = async (signal: NodeJS.Signals) => {
    if (current.ended()) return
    current.child.kill(signal)
    // A frozen server hears nothing else before it runs again.
    current.child.kill('SIGCONT')
    const timer = setTimeout(() => current.child.kill('SIGKILL'), 5_000)
    await current.exited
    clearTimeout(timer)
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    dir,
    get pid() {
      return current.child.pid!
    },
    kill: async (signal = 'SIGKILL') => {
      if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await end(signal)
      else if (!current.ended()) current.child.kill(signal)
    },
    restart: async () => {
      await end('SIGTERM')
      current = await launch(server, dir, port, options.args ?? [])
    },
    stop: async () => {
      await end('SIGTERM')
      await removeOwnDir()
    },
  }
}

async function launchOnPort(server: RedisServer, dir: string, { port, args = [] }: PrivateRedisOptions) {
  if (port) return { port, running: await launch(server, dir, port, args) }
  // Between finding a free port and listening on it, another may have taken it.
  for (let attemptsLeft = 5; ; attemptsLeft -= 1) {
    const found = await freePort()
    try {
      return { port: found, running: await launch(server, dir, found, args) }
    } catch (error) {
      if (attemptsLeft === 1 || !/already in use/i.test((error as Error).message)) throw error
    }
  }
}

interface Running {
  child: ChildProcess
  ended(): boolean
  exited: Promise<unknown>
}

async function launch(
  server: RedisServer,
  dir: string,
  port: number,
  args: readonly string[],
): Promise<Running> {
  const logFile = join(dir, 'redis.log')
  const log = openSync(logFile, 'a')
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--daemonize', 'no']
  const durability = ['--appendonly', 'yes', '--save', '', '--maxmemory-policy', 'noeviction']
  const child = spawn(server.command, [...settings, ...durability, ...args], {
    // Redis refuses to start under a locale that the machine does not have.
    env: { ...process.env, ...server.env, LC_ALL: 'C' },
    stdio: ['ignore', log, log],
    detached: true,
  })
  closeSync(log)
  await once(child, 'spawn')
  const release = guard({ pid: child.pid! })
  child.once('exit', release)
  const exited = new Promise((resolve) => child.once('exit', resolve))
  await recordOwner(dir, child.pid!, port)

  const ended = () => child.exitCode !== null || child.signalCode !== null
  const deadline = performance.now() + 30_000
  while (!(await answersPing(port))) {
    if (ended() || performance.now() > deadline) {
      child.kill('SIGKILL')
      await exited
      const tail = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-5).join('\n')
      throw new Error(`${server.command} did not start on port ${port}:\n${tail}`)
    }
    await sleep(20)
  }
  // The port may have been another server's, while ours was just about to give up.
  await sleep(20)
  if (ended()) throw new Error(`${server.command}: port ${port} is already in use`)
  return { child, ended, exited }
}

/** While Redis reads its AOF it answers with an error; then with +PONG, or that it wants a password. */
export function answersPing(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host, timeout: 1_000 })
    const finish = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', (data) => finish(/^(\+PONG|-NOAUTH)/.test(data.toString('latin1'))))
    socket.once('error', () => finish(false))
    socket.once('timeout', () => finish(false))
    socket.once('close', () => finish(false))
  })
}
