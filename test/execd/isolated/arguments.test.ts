import { expect, test } from 'vitest'
import { type ArgumentsInput, bwrapOptions } from '../../../execd/isolated/arguments.ts'

const INPUT: ArgumentsInput = {
  profile: 'strict',
  uidMode: 'setpriv',
  user: { uid: 0, gid: 0 },
  shareNet: true,
  plan: { mounts: [{ path: '/work', mode: 'rw' }], binds: [] } as unknown as ArgumentsInput['plan'],
  mergedOf: () => '/merged',
  rootMounts: [],
  runtimeDir: '/opt/opensandbox',
  hidden: [],
  canDisableUserns: true,
  cwd: '/work',
  env: {},
}

test('a fresh /tmp covers what lies there, but for what the session begins with, which every user can reach', () => {
  expect(bwrapOptions(INPUT).join(' ')).not.toContain('/opt/opensandbox')
  const options = bwrapOptions({ ...INPUT, runtimeDir: '/tmp/a/b/own' }).join(' ')
  expect(options).toContain(
    '--tmpfs /tmp --tmpfs /run --perms 0755 --dir /tmp/a --perms 0755 --dir /tmp/a/b --ro-bind /tmp/a/b/own /tmp/a/b/own',
  )
})
