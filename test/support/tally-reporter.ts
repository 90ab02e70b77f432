// A vitest reporter that writes what test/run.ts counts: how many tests passed, failed and were skipped, with the reason of each
// skip and the first line of each failure.

import { writeFileSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import type { Reporter, TestCase, TestModule } from 'vitest/node'

export type Tally = {
  passed: number
  failed: string[]
  skipped: { name: string; reason: string }[]
}

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const tally: Tally = { passed: 0, failed: [], skipped: [] }
    for (const module of modules) {
      if (module.errors().length > 0) tally.failed.push(`${module.relativeModuleId} (does not load)`)
      for (const suite of module.children.allSuites()) {
        if (suite.errors().length > 0)
          tally.failed.push(`${module.relativeModuleId} > ${suite.fullName} (set-up)`)
      }
      for (const test of module.children.allTests()) count(test, module, tally)
    }
    if (errors.length > 0) tally.failed.push(`${errors.length} errors outside of tests`)
    const file = process.env.OPENSANDBOX_TALLY_FILE
    if (file) writeFileSync(file, JSON.stringify(tally))
  }
}

function count(test: TestCase, module: TestModule, tally: Tally): void {
  const result = test.result()
  const name = `${module.relativeModuleId} > ${test.fullName}`
  if (result.state === 'passed') tally.passed += 1
  else if (result.state === 'skipped') tally.skipped.push({ name, reason: result.note ?? 'no reason given' })
  else tally.failed.push(`${name}: ${firstLine(result.errors?.[0]?.message)}`)
}

function firstLine(message = 'no error was given'): string {
  return stripVTControlCharacters(message).split('\n', 1).join('').slice(0, 300)
}
