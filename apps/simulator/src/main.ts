/** Starts the simulator as a program of its own. */
import closeWithGrace from 'close-with-grace'
import { buildSimulator } from './app.ts'
import { type Config, ConfigError, readConfig } from './config.ts'

function configOrExit(): Config {
  try {
    return readConfig(process.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.lines.join('\n')}\n`)
    process.exit(1)
  }
}

const { host, port, logLevel, file } = configOrExit()
// Fastify tells at `info` about every address; one line of our own says it once, at any level.
const app = buildSimulator({ file, logLevel: logLevel === 'info' ? 'warn' : logLevel })

closeWithGrace({ delay: 1000, logger: false }, async ({ err }) => {
  if (err !== undefined) process.stderr.write(`${err.stack}\n`)
  await app.close()
})

try {
  const address = await app.listen({ host, port })
  const line = { level: 30, time: Date.now(), pid: process.pid, msg: 'simulator listening', address }
  process.stdout.write(`${JSON.stringify(line)}\n`)
} catch (error) {
  process.stderr.write(`the simulator cannot listen on ${host}:${port}: ${(error as Error).message}\n`)
  process.exit(1)
}
