import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { bootUser } from '../../execd/boot-user.ts'
import { createUsers } from '../../execd/users.ts'

const folder = mkdtempSync(join(tmpdir(), 'boot-user-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
writeFileSync(
  join(folder, 'passwd'),
  'root:x:0:0::/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n77:x:78:79::/:/bin/sh\n',
)
writeFileSync(join(folder, 'group'), 'root:x:0:\nuser:x:1001:\nextra:x:2000:user,root\n')
const users = createUsers(join(folder, 'passwd'), join(folder, 'group'))

describe('bootUser()', () => {
  test.each([
    [{}, { uid: 0, gid: 0, groups: [] }],
    [{ uid: 1000 }, { uid: 1000, gid: 1001, groups: [2000] }],
    [
      { uid: 1000, gid: 5 },
      { uid: 1000, gid: 5, groups: [2000] },
    ],
    [{ uid: 3000 }, { uid: 3000, gid: 3000, groups: [] }],
    [{ user: '' }, { uid: 0, gid: 0, groups: [] }],
    [{ user: 'root' }, { uid: 0, gid: 0, groups: [] }],
    [{ user: 'user' }, { uid: 1000, gid: 1001, groups: [2000] }],
    [{ user: '1000' }, { uid: 1000, gid: 1001, groups: [2000] }],
    [{ user: 'user:extra' }, { uid: 1000, gid: 2000, groups: [] }],
    [{ user: 'user:5' }, { uid: 1000, gid: 5, groups: [] }],
    [{ user: '3000' }, { uid: 3000, gid: 0, groups: [] }],
    [{ user: '3000:4000' }, { uid: 3000, gid: 4000, groups: [] }],
    // A name of digits is a name first, as for every other runtime.
    [{ user: '77' }, { uid: 78, gid: 79, groups: [] }],
  ])('%j is %j', (boot, expected) => {
    expect(bootUser(boot, users)).toEqual(expected)
  })

  test.each([
    ['nobody-here', 'no such user'],
    ['user:nothing', 'no such group'],
    ['4294967295', 'no such user'],
    ['-1', 'no such user'],
  ])('refuses "%s": %s', (user, message) => {
    expect(() => bootUser({ user }, users)).toThrow(message)
  })
})
