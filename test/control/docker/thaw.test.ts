import { expect, test } from 'vitest'
import { freezerIn } from '../../../control/runtime/docker/thaw.ts'

test.each([
  [
    '12:freezer:/docker/ab\n3:cpu,cpuacct:/docker/ab\n0::/x\n',
    '/sys/fs/cgroup/freezer/docker/ab/freezer.state',
  ],
  ['5:pids,freezer:/a\n', '/sys/fs/cgroup/freezer/a/freezer.state'],
  ['0::/system.slice/docker-ab.scope\n', '/sys/fs/cgroup/system.slice/docker-ab.scope/cgroup.freeze'],
  // What has no cgroup of its own is not ours to touch.
  ['0::/\n', undefined],
  ['3:cpu:/docker/freezer\n', undefined],
  ['', undefined],
])('freezerIn(%j) is %s', (membership, path) => {
  expect(freezerIn(membership)?.path).toBe(path)
})
