import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createForeignChanges } from '../../egress/watch/foreign-changes.ts'
import { monitor } from '../../egress/watch/monitor.ts'
import { createSilentLogger } from '../../lib/log.ts'
import { readIfThere } from '../../lib/program.ts'
import { waitFor } from '../support/wait-for.ts'

const BY_US = '# new generation 7 by process 12 (nft-ab12)'
const BY_OTHERS = '# new generation 8 by process 34 (nft)'

test.each([
  ['our own change', ['delete rule inet ours c handle 4', BY_US], false],
  ['an emptied chain', ['delete rule inet ours c handle 4', BY_OTHERS], true],
  [
    'everything emptied',
    ['delete table ip filter', 'delete set inet ours s', 'delete table inet ours', BY_OTHERS],
    true,
  ],
  ['a rule put before ours', ['insert rule inet ours c accept', BY_OTHERS], true],
  ['the table of frames emptied', ['delete chain netdev ours other', BY_OTHERS], true],
  ['another table', ['delete table inet ours_too', 'delete table ip ours', BY_OTHERS], false],
  [
    'another after our own',
    ['add element inet ours s { 10.0.0.1 }', BY_US, 'add table ip x', BY_OTHERS],
    false,
  ],
  [
    'a name that another program gave itself',
    ['delete table inet ours', '# new generation 9 by process 5 (nft-ab12) (x)'],
    true,
  ],
])('B6: %s is told apart', (_what, lines, isForeign) => {
  const changes = createForeignChanges({ table: 'ours', own: 'nft-ab12' })
  expect(lines.map(changes).some((generation) => generation !== undefined)).toBe(isForeign)
})

test('a monitor that ends is started again, and the gap is said', async () => {
  const end = new AbortController()
  onTestFinished(() => end.abort())
  const lines: string[] = []
  let gaps = 0
  await monitor({
    command: ['sh', '-c', 'echo one; echo two'],
    onLine: (line) => lines.push(line),
    onGap() {
      if (++gaps === 2) end.abort()
    },
    log: createSilentLogger(),
    signal: end.signal,
  })
  expect(lines.slice(0, 4)).toEqual(['one', 'two', 'one', 'two'])
})

const MODULES = join(import.meta.dirname, '../../node_modules')
test.each([
  ['Node', [join(MODULES, 'node/bin/node')]],
  ['Deno', [join(MODULES, '.bin/deno'), 'run', '-A']],
])('what is followed ends with who follows it, when that ends by an exception; by %s', async (_what, by) => {
  const [program = '', ...args] = [...by, join(import.meta.dirname, 'fixtures/fail-following.ts')]
  const { error, stdout } = await new Promise<{ error: Error | null; stdout: string }>((resolve) => {
    execFile(program, args, (error, stdout) => resolve({ error, stdout }))
  })
  expect(error?.message).toContain('nobody catches this')
  expect(stdout).toMatch(/^\d+$/)
  // What has ended has none, also while nobody has asked how.
  await waitFor(() => expect(readIfThere(`/proc/${stdout}/cmdline`) ?? '').toBe(''))
})
