export * from './content.ts'
export * from './http.ts'
export * from './provider.ts'
