import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
// @ts-expect-error plain JavaScript, as it runs before there are any packages
import { PLAIN_FLAGS, problemsOfFlags, VALUED_FLAGS } from '../../launcher/flags.mjs'
import { FLAGS } from '../../lib/config/settings.ts'

const start = fileURLToPath(new URL('../../launcher/start.mjs', import.meta.url))
const run = (...args: string[]) =>
  spawnSync(process.execPath, [start, ...args], { encoding: 'utf8', timeout: 20_000 })

test('knows the flags that the programs take, and the help lists each', () => {
  expect([...VALUED_FLAGS].sort()).toEqual(['--config', ...Object.keys(FLAGS)].sort())
  const { stdout } = run('--help')
  for (const flag of [...VALUED_FLAGS, ...PLAIN_FLAGS]) expect(stdout).toContain(`  ${flag}`)
})

test.each<[string[], string[]]>([
  [['--port', '80', '--host=0.0.0.0', '--no-install', '--stop-sandboxes'], []],
  [
    ['--prot', '80'],
    ['Unknown argument "--prot": allowed are --config, ', 'Unknown argument "80"'],
  ],
  [['--port'], ['Flag --port needs a value']],
  [['--config='], ['Flag --config needs a value']],
  [['--port=0'], ['Flag --port must be a number from 1 to 65535, but it is "0"']],
  [['--port', '8080x'], ['Flag --port must be a number from 1 to 65535, but it is "8080x"']],
])('%j has these problems: %j', (args, expected) => {
  const problems = problemsOfFlags(args)
  expect(problems).toHaveLength(expected.length)
  for (const [at, text] of expected.entries()) expect(problems[at]).toContain(text)
})

test('tells of a wrong flag before it looks at the machine', () => {
  const { status, stdout, stderr } = run('--prot', '80')
  expect([status, stdout, stderr.split('\n')[0]]).toEqual([1, '', expect.stringContaining('"--prot"')])
})
