import { describeProvider } from '../testing/describe-provider.ts'
import { fixtures } from './fixtures.ts'
import { gupshup } from './index.ts'

describeProvider(gupshup, fixtures)
