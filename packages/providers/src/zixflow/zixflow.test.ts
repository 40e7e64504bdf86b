import { describeProvider } from '../testing/describe-provider.ts'
import { fixtures } from './fixtures.ts'
import { zixflow } from './index.ts'

describeProvider(zixflow, fixtures)
