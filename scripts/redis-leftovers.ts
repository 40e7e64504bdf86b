import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheDir } from './checkout.ts'
import { isAlive } from './processes.ts'

/** Written beside a private server's data, so that a later start can tell what was left behind. */
interface Owner {
  /** The process that started the server. */
  parent: number
  server: number
  port: number
}

const runDir = join(cacheDir, 'redis-run')
const ownerFile = 'owner.json'

/** A new folder for a server's data; what dead runs have left is cleared away first. */
export async function newDataDir(): Promise<string> {
  await mkdir(runDir, { recursive: true })
  for (const name of await readdir(runDir)) {
    const dir = join(runDir, name)
    const owner = readOwner(dir)
    // Without an owner it is one that is being made right now, or not worth the risk.
    if (!owner || isAlive(owner.parent)) continue
    endStaleServer(owner)
    await rm(dir, { recursive: true, force: true, maxRetries: 3 })
  }
  return mkdtemp(join(runDir, `${process.pid}-`))
}

export async function recordOwner(dir: string, server: number, port: number): Promise<void> {
  const owner: Owner = { parent: process.pid, server, port }
  await writeFile(join(dir, ownerFile), JSON.stringify(owner))
}

/** Ends the server that a dead process has left running on `dir`, if there is one. */
export function endStale(dir: string): void {
  const owner = readOwner(dir)
  if (owner && !isAlive(owner.parent)) endStaleServer(owner)
}

function endStaleServer({ server, port }: Owner): void {
  if (isAlive(server) && titleOf(server).includes(`:${port}`)) process.kill(server, 'SIGKILL')
}

/** Redis shows its address in its title ("redis-server 127.0.0.1:6379"): a process id alone may be another's by now. */
function titleOf(pid: number): string {
  try {
    if (existsSync('/proc/self')) return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return execFileSync('ps', ['-p', String(pid), '-o', 'args='], { encoding: 'utf8' })
  } catch {
    return ''
  }
}

function readOwner(dir: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, ownerFile), 'utf8'))
  } catch {
    return undefined
  }
}
