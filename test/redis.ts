/**
 * The Redis of a test file: a container through Testcontainers where an engine is there, else a server of our own.
 * Both are real, both can be killed, frozen and brought back with their data on the same port.
 *
 * WA_TEST_REDIS: `container` or `binary` forces one of them.
 */
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer } from 'testcontainers'
import { guard } from '../scripts/guard.ts'
import { freePort } from '../scripts/processes.ts'
import { dockerAnswers, hasImage, redisImage, startPrivateRedis } from '../scripts/redis.ts'
import { answersPing } from '../scripts/redis-server.ts'
import type { OnEnd } from './endings.ts'

export interface TestRedis {
  url: string
  how: 'container' | 'binary'
  /** SIGKILL. */
  kill(): Promise<void>
  /** After a kill: the same data, the same port. */
  start(): Promise<void>
  /** Stops answering, keeps its connections. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  stop(): Promise<void>
}

/** Starts a Redis that ends with the test file or the test. */
export async function useRedis(onEnd: OnEnd, args: string[] = []): Promise<TestRedis> {
  const how =
    process.env.WA_TEST_REDIS ??
    ((await dockerAnswers()) && (await hasImage(redisImage)) ? 'container' : 'binary')
  const redis = how === 'container' ? await containerRedis(args) : await binaryRedis(args)
  onEnd(() => redis.stop())
  return redis
}

async function binaryRedis(args: string[]): Promise<TestRedis> {
  const server = await startPrivateRedis({ args })
  return {
    url: server.url,
    how: 'binary',
    kill: () => server.kill('SIGKILL'),
    start: () => server.restart(),
    freeze: () => server.kill('SIGSTOP'),
    thaw: () => server.kill('SIGCONT'),
    stop: () => server.stop(),
  }
}

async function containerRedis(args: string[]): Promise<TestRedis> {
  const port = await freePort()
  const started: StartedTestContainer = await new GenericContainer(redisImage)
    .withExposedPorts({ container: 6379, host: port })
    .withCommand(['--appendonly', 'yes', '--save', '', '--maxmemory-policy', 'noeviction', ...args])
    .start()
  const release = guard({ container: started.getId() })
  const { container } = await getContainerRuntimeClient()
  const handle = container.getById(started.getId())
  const answering = async () => {
    while (!(await answersPing(port, started.getHost())))
      await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await answering()
  return {
    url: `redis://${started.getHost()}:${port}`,
    how: 'container',
    kill: async () => void (await handle.kill()),
    start: async () => {
      await handle.start()
      await answering()
    },
    freeze: async () => void (await handle.pause()),
    thaw: async () => void (await handle.unpause()),
    stop: async () => {
      await started.stop({ timeout: 1_000 })
      release()
    },
  }
}
