/**
 * Loaded in front of a worker (`node --import`): every message may go at once, and nobody is asked. What is left of the
 * worker's work is all but the limiter's.
 */
import { Limiter, type Turn } from '@wa-dispatch/dispatch'

const go: Promise<Turn> = Promise.resolve({ kind: 'go', atMs: 0, waitMs: 0, probe: false })
Limiter.prototype.reserve = () => go
