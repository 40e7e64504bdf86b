/** Messages: take in one or many, look up, cancel, decide what is uncertain. */
import type { App } from '../../app.ts'
import type { Metrics } from '../../metrics.ts'
import type { PostBackGate } from '../../post-back-gate.ts'
import type { Storage } from '../../storage.ts'
import { acceptRoute } from './accept.ts'
import { batchRoute } from './batch.ts'
import { decisionRoutes } from './decide.ts'
import { lookUpRoutes } from './look-up.ts'

export interface MessageRouteOptions {
  storage: Storage
  metrics: Metrics
  postBacks: PostBackGate
}

export function messageRoutes(app: App, options: MessageRouteOptions): void {
  acceptRoute(app, options)
  batchRoute(app, options)
  lookUpRoutes(app, options)
  decisionRoutes(app, options)
}
