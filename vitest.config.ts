import { defineConfig } from 'vitest/config'

/** Files that measure times: nothing else may run beside them. */
const timed = [
  'bench/bench.test.ts',
  'scripts/demo.test.ts',
  'test/campaign-crash.test.ts',
  'test/campaigns.test.ts',
  'test/delivery.test.ts',
  'test/limits.test.ts',
  'test/post-backs.test.ts',
]

const shared = {
  // Real servers and processes on a machine that may be busy: generous, because no test waits without need.
  testTimeout: 30_000,
  hookTimeout: 60_000,
  // Processes, not threads: a test file may be killed with all that it has started.
  pool: 'forks',
} as const

export default defineConfig({
  test: {
    // An emptied test file must not look like success.
    passWithNoTests: false,
    projects: [
      {
        test: {
          ...shared,
          name: 'two at a time',
          include: ['{apps,packages,test,bench,scripts}/**/*.test.ts'],
          exclude: [...timed, '**/node_modules/**'],
          // Most of them wait for other processes most of the time.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: { ...shared, name: 'alone', include: timed, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
})
