import { describeProvider } from '../testing/describe-provider.ts'
import { fixtures } from './fixtures.ts'
import { kaleyra } from './index.ts'

describeProvider(kaleyra, fixtures)
