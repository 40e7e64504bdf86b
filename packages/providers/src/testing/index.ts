export * from './describe-provider.ts'
export * from './fixtures.ts'
export * from './https.ts'
export * from './loopback.ts'
