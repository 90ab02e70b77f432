import { defineConfig } from 'vitest/config'
import { PATIENCE_MS, TEST_MS } from './test/support/patience.ts'

// What needs only this process runs in parallel; suites that start the programs, touch namespaces or measure run one at
// a time (test/run.ts), because the machine may have two cores.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: TEST_MS,
    hookTimeout: 120_000,
    expect: { poll: { timeout: PATIENCE_MS } },
    execArgv: ['--import', './control/quick-imports.ts'],
  },
})
