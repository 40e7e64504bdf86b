export * from './queue.ts'
export * from './status-label.ts'
