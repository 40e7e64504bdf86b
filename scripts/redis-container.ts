import { execFile, execFileSync } from 'node:child_process'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { guard } from './guard.ts'
import { isAlive } from './processes.ts'
import { onPath } from './redis-program.ts'
import { answersPing } from './redis-server.ts'

export const redisImage = 'redis:7'

const run = promisify(execFile)
const ownerLabel = 'wa-dispatch.owner'

/** Whether there is a Docker client and an engine answers it. */
export async function dockerAnswers(): Promise<boolean> {
  if (!onPath('docker')) return false
  try {
    await run('docker', ['version', '--format', '{{.Server.Version}}'], { timeout: 10_000 })
    return true
  } catch {
    return false
  }
}

/** Whether `image` is there or could be pulled. `log` hears of a pull, which takes its time. */
export async function hasImage(
  image: string,
  log: (line: string) => void = () => undefined,
): Promise<boolean> {
  try {
    await run('docker', ['image', 'inspect', image])
    return true
  } catch {
    log(`Pulling the image ${image} …`)
  }
  try {
    await run('docker', ['pull', '--quiet', image], { timeout: 180_000 })
    return true
  } catch {
    return false
  }
}

/** Starts Redis in a container, with AOF and noeviction, published on 127.0.0.1; its data goes with it. */
export async function startRedisContainer(): Promise<{ url: string; stop(): Promise<void> }> {
  await removeStale()
  const name = `wa-dispatch-redis-${process.pid}-${Date.now()}`
  const release = guard({ container: name })
  const remove = async () => {
    await run('docker', ['rm', '--force', '--volumes', name]).catch(() => undefined)
    release()
  }
  try {
    const published = ['--publish', '127.0.0.1::6379', '--label', `${ownerLabel}=${owner(process.pid)}`]
    const settings = ['--appendonly', 'yes', '--save', '', '--maxmemory-policy', 'noeviction']
    await run('docker', ['run', '--detach', '--rm', '--name', name, ...published, redisImage, ...settings])
    const { stdout } = await run('docker', ['port', name, '6379/tcp'])
    const port = Number(stdout.trim().split(':').at(-1))
    const deadline = performance.now() + 30_000
    while (!(await answersPing(port))) {
      if (performance.now() > deadline)
        throw new Error(`Redis in a container does not answer on port ${port}`)
      await sleep(100)
    }
    return { url: `redis://127.0.0.1:${port}`, stop: remove }
  } catch (error) {
    await remove()
    throw error
  }
}

/** Process ids mean something on one machine only, and an engine can serve several. */
function owner(pid: number | string): string {
  return `${hostname()}:${pid}`
}

async function removeStale(): Promise<void> {
  const format = `{{.ID}} {{.Label "${ownerLabel}"}}`
  const { stdout } = await run('docker', ['ps', '--filter', `label=${ownerLabel}`, '--format', format])
  for (const line of stdout.split('\n')) {
    const [id, label = ''] = line.split(' ')
    const pid = Number(label.split(':').at(-1))
    if (id && label === owner(pid) && !isAlive(pid))
      execFileSync('docker', ['rm', '-f', '-v', id], { stdio: 'ignore' })
  }
}
