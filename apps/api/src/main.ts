/** The API's composition root. */
import './small-heap.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigurationError, connectRedis, exitOnFault } from '@wa-dispatch/dispatch'
import closeWithGrace from 'close-with-grace'
import { type App, buildApp } from './app.ts'
import { type ApiConfig, readConfig } from './config.ts'
import { createPostBackGate } from './post-back-gate.ts'
import { createLogger } from './request-log.ts'
import { Storage } from './storage.ts'

/** In-flight requests may take this long when the process is asked to end. */
const CLOSE_MS = 10_000

function configure(): ApiConfig {
  try {
    return readConfig(process.env)
  } catch (error) {
    return exitOnFault(error)
  }
}

const config = configure()
const log = createLogger(config.logLevel)
const redis = connectRedis(config.redisUrl, 'api', log)
const storage = new Storage({ redis, accounts: config.accounts, retentionDays: config.retentionDays, log })
let app: App | undefined

// Before anything takes time: who is asked to end while still starting ends in good order too.
closeWithGrace({ delay: CLOSE_MS, logger: log }, async ({ signal, err }) => {
  if (err) log.error({ err }, 'api.crashed')
  log.info({ signal }, 'api.closing')
  await closeServer()
  await storage.close()
  redis.disconnect()
  log.info('api.closed')
})

/** Connections that never asked anything do not count as idle for Node: they are cut when the last answer is out. */
let inFlight = 0
async function closeServer(): Promise<void> {
  if (!app) return
  const closed = app.close()
  while (inFlight > 0) await sleep(20)
  app.server.closeAllConnections()
  await closed
}

const postBacks = createPostBackGate({ signer: config.signer, allow: config.postBackAllow })
app = await buildApp({ ...config, storage, postBacks, log })
app.server.on('request', (_request, response) => {
  inFlight++
  response.once('close', () => inFlight--)
})
storage.start()
try {
  await app.listen({
    host: config.host,
    port: config.port,
    listenTextResolver: (address) => `api.listening at ${address}`,
  })
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException
  const variable = code === 'EADDRINUSE' || code === 'EACCES' ? 'API_PORT' : 'API_HOST'
  exitOnFault(
    new ConfigurationError([`${variable}: cannot listen on ${config.host}:${config.port}: ${message}`]),
  )
}
