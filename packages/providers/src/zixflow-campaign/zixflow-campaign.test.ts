import { describeProvider } from '../testing/describe-provider.ts'
import { fixtures } from './fixtures.ts'
import { zixflowCampaign } from './index.ts'

describeProvider(zixflowCampaign, fixtures)
