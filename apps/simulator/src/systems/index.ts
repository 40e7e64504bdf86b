/** Every system the simulator plays: one line each. */
import { gupshup } from './gupshup.ts'
import { kaleyra } from './kaleyra.ts'
import type { ProviderName, System } from './system.ts'
import { zixflow } from './zixflow.ts'
import { zixflowCampaign } from './zixflow-campaign.ts'

export const systems = {
  zixflow,
  'zixflow-campaign': zixflowCampaign,
  kaleyra,
  gupshup,
} satisfies Record<ProviderName, System>
