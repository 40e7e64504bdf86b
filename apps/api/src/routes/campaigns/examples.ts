/** Three messages of a campaign as they would go out. */
import type { CampaignRecord, CampaignRow, Campaigns, Template } from '@wa-dispatch/dispatch'

export interface Example {
  line: number
  to: string
  message: Record<string, unknown>
}

/** @returns of the first row, one about the middle, and the last; fewer where there are fewer rows */
export async function examplesOf(
  campaigns: Campaigns,
  { id, chunks }: CampaignRecord,
  template: Template,
): Promise<Example[]> {
  const rowsOf = async (chunk: number): Promise<CampaignRow[]> =>
    (await campaigns.chunk(id, chunk))?.rows.filter((row) => row !== undefined) ?? []
  const first = await rowsOf(0)
  const last = chunks > 1 ? await rowsOf(chunks - 1) : []
  const ends = [...first, ...last]
  const middle = chunks > 2 ? await rowsOf(Math.floor((chunks - 1) / 2)) : ends
  const chosen = [ends[0], middle[middle.length >> 1], ends.at(-1)]
  return [...new Set(chosen)].flatMap((row) => (row ? (exampleOf(row, template) ?? []) : []))
}

function exampleOf({ line, to, values }: CampaignRow, template: Template): Example | undefined {
  const result = template.render(
    Object.fromEntries(template.variables.map((name, index) => [name, values[index] ?? ''])),
  )
  return 'content' in result ? { line, to, message: { ...result.content } } : undefined
}
