/** Receipts: take in what providers say later, list what matched no message. */
import type { App } from '../../app.ts'
import type { Storage } from '../../storage.ts'
import { intakeRoute } from './intake.ts'
import { unmatchedRoute } from './unmatched.ts'

export interface ReceiptRouteOptions {
  storage: Storage
}

export function receiptRoutes(app: App, options: ReceiptRouteOptions): void {
  intakeRoute(app, options)
  unmatchedRoute(app, options)
}
