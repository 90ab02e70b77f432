// `npm test`: everything that this machine can run, one stage after the other, and at the end one line that counts it all.
// `--quick` leaves out what takes minutes (contract, system, end to end, published SDKs).
//
// Unit tests run in parallel, the published SDKs two at a time. What makes namespaces, ends programs or loads the machine runs
// alone, file by file. The black-box suites run twice: with the programs started by Node, and by Deno.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Tally } from './support/tally-reporter.ts'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const BIN = join(ROOT, 'node_modules/.bin')
const STAGE_TIMEOUT_MS = 25 * 60_000

type Stage = {
  name: string
  command: string[]
  env?: Record<string, string>
  /** Counted by the reporter; a stage without one counts as one test. */
  tally?: boolean
  slow?: boolean
}

const vitest = (name: string, args: string[], more: Partial<Stage> = {}): Stage => ({
  name,
  command: [process.execPath, join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run', ...args],
  tally: true,
  ...more,
})
const ALONE = ['--no-file-parallelism', '--maxWorkers=1']
/** Of files that start a product of their own each, and then mostly wait for its answers. */
const IN_PAIRS = ['--maxWorkers=2']

const stages: Stage[] = [
  { name: 'types', command: [join(BIN, 'tsc')] },
  { name: 'lint', command: [join(BIN, 'biome'), 'check', '--error-on-warnings', '.'] },
  // Most of these wait for processes more than they compute, so there are more of them at a time than two cores would say.
  vitest('unit', [
    '--exclude=test/contract/**',
    '--exclude=test/system/**',
    '--exclude=test/e2e/**',
    '--exclude=test/apps/**',
    '--exclude=test/conformance/**',
    '--maxWorkers=3',
  ]),
  // Each runtime on the same cases, a Docker daemon of the tests' own behind one of them.
  vitest('contract', ['test/contract', ...ALONE], { slow: true }),
  vitest('system', ['test/system', ...ALONE], { slow: true }),
  vitest('end to end', ['test/e2e', 'test/apps', ...ALONE], { slow: true }),
  vitest('published SDKs', ['test/conformance', ...IN_PAIRS], { slow: true }),
  // But for what serves control from the test's own process.
  vitest(
    'black box by Deno',
    [
      'test/e2e',
      'test/conformance',
      '--exclude=**/{beyond-reference,published-document,schemathesis}.test.ts',
      ...IN_PAIRS,
    ],
    { slow: true, env: { OPENSANDBOX_TEST_PROGRAMS: 'deno' } },
  ),
]

const quick = process.argv.includes('--quick')
const total: Tally = { passed: 0, failed: [], skipped: [] }
const scratch = mkdtempSync(join(tmpdir(), 'opensandbox-tally-'))
const abort = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => abort.abort())

for (const stage of stages) {
  if (quick && stage.slow) {
    total.skipped.push({ name: stage.name, reason: 'left out by --quick' })
    continue
  }
  const startedAt = Date.now()
  console.log(`\n== ${stage.name}`)
  const tallyFile = join(scratch, `${stage.name.replaceAll(' ', '-')}.json`)
  const args = stage.tally
    ? ['--reporter=default', `--reporter=${join(ROOT, 'test/support/tally-reporter.ts')}`]
    : []
  const ok = await run([...stage.command, ...args], { ...stage.env, OPENSANDBOX_TALLY_FILE: tallyFile })
  const tally = stage.tally ? readTally(tallyFile) : undefined
  if (tally) {
    total.passed += tally.passed
    total.failed.push(...tally.failed.map((name) => `${stage.name}: ${name}`))
    total.skipped.push(
      ...tally.skipped.map(({ name, reason }) => ({ name: `${stage.name}: ${name}`, reason })),
    )
  } else if (ok && !stage.tally) total.passed += 1
  if ((!ok || (stage.tally && !tally)) && !tally?.failed.length)
    total.failed.push(`${stage.name} (${ok ? 'it left no report' : 'see above'})`)
  console.log(
    `== ${stage.name}: ${ok ? 'passed' : 'FAILED'} after ${Math.round((Date.now() - startedAt) / 1000)} s`,
  )
  if (abort.signal.aborted) break
}
rmSync(scratch, { recursive: true, force: true })

for (const { name, reason } of total.skipped) console.log(`skipped: ${name}: ${reason}`)
for (const name of total.failed) console.log(`failed: ${name}`)
console.log(`${total.passed} passed, ${total.failed.length} failed, ${total.skipped.length} skipped`)
process.exit(total.failed.length > 0 || abort.signal.aborted ? 1 : 0)

function run([program, ...args]: string[], env: Record<string, string>): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program ?? '', args, {
      cwd: ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
      timeout: STAGE_TIMEOUT_MS,
      signal: abort.signal,
    })
    child.on('error', (error) => {
      console.error(error.message)
      resolve(false)
    })
    child.on('exit', (code) => resolve(code === 0))
  })
}

function readTally(file: string): Tally | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Tally
  } catch {
    return undefined // vitest ended before it could report; the stage has failed and is named
  }
}
