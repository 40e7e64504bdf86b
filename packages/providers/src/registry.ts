/** Every provider, one line each. */
import { gupshup } from './gupshup/index.ts'
import type { JsonProvider } from './json-provider.ts'
import { kaleyra } from './kaleyra/index.ts'
import { zixflow } from './zixflow/index.ts'
import { zixflowCampaign } from './zixflow-campaign/index.ts'

const registered = {
  kaleyra,
  gupshup,
  zixflow,
  'zixflow-campaign': zixflowCampaign,
}

export type ProviderName = keyof typeof registered

/**
 * The providers by name. An account that passed its provider's `accountSchema` is what its `send` takes;
 * the types do not follow that through a look-up by name.
 */
export const providers: Readonly<Record<ProviderName, JsonProvider>> = registered

export const providerNames = Object.keys(registered) as ProviderName[]

/** Whether a name from outside is a provider's. */
export function isProviderName(name: string): name is ProviderName {
  return Object.hasOwn(registered, name)
}
