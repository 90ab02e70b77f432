// What nobody has caught, in a process of its own.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** Runs code below the last handlers; then it says that it goes on, if it does. */
function runBelow(code: string): { status: number | null; stdout: string; stderr: string } {
  const program = `
    import { catchLastErrors } from '${ROOT}/execd/last-resort.ts'
    import { createLogger } from '${ROOT}/lib/log.ts'
    catchLastErrors(createLogger({ program: 'execd' }), () => process.exit(7))
    // Not before the code has had its turn.
    setImmediate(() => setTimeout(() => console.log('goes on'), 100))
    ${code}`
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module-typescript', '--no-warnings', '-e', program],
    { encoding: 'utf8', timeout: 20_000 },
  )
  return { status, stdout, stderr }
}

test.each([
  ['a promise that fails unseen', `Promise.reject(new Error('nobody waits'))`, 'nobody waits'],
  [
    'an error of a socket that nobody listens for',
    `import('node:net').then(({ connect }) => connect('/nowhere/at/all'))`,
    'ENOENT',
  ],
  ['a promise that fails with no error', 'Promise.reject(5)', '5'],
])('%s is told, and ends nothing', (_what, code, said) => {
  const { status, stdout, stderr } = runBelow(code)
  expect([status, stdout]).toEqual([0, 'goes on\n'])
  expect(stderr).toContain(said)
})

test('an exception that nobody expects is told, and ends execd', () => {
  const { status, stdout, stderr } = runBelow(`setImmediate(() => undefined.field)`)
  expect([status, stdout]).toEqual([7, ''])
  expect(stderr).toContain('execd ends')
  expect(stderr).toContain('TypeError')
})

test('a log that nobody reads ends nothing, and is not written to for ever', () => {
  const { status, stdout } = runBelow(`
    process.stderr._write = (_bytes, _encoding, done) => done(Object.assign(new Error('closed'), { code: 'EPIPE' }))
    Promise.reject(new Error('nobody waits'))`)
  expect([status, stdout]).toEqual([0, 'goes on\n'])
})
