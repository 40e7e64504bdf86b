import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{apps,packages,test,bench,scripts}/**/*.test.ts'],
    // Real servers and processes on a machine that may be busy: generous, because no test waits without need.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Processes, not threads: a test file may be killed with all that it has started.
    pool: 'forks',
    // An emptied test file must not look like success.
    passWithNoTests: false,
  },
})
