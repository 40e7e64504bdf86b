export * from './campaign.ts'
export { type CampaignRow, CHUNK_ROWS, type Chunk } from './chunk.ts'
export * from './ids.ts'
export * from './store.ts'
