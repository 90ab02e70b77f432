// What a sandbox is made of, as values: the pure parts of the local runtime.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { decideArchiveKind } from '../../control/image/archive.ts'
import { readBundleConfig } from '../../control/image/pull.ts'
import { createAddressPool } from '../../control/runtime/addresses.ts'
import { findMissing, whyNoPlace } from '../../control/runtime/local/checks.ts'
import { CAPABILITIES, makeSpec, type SpecInput } from '../../control/runtime/local/spec.ts'
import type { Machine } from '../../control/runtime/machine.ts'
import { interfaceOf } from '../../control/runtime/sandbox-record.ts'
import { type DockerProfile, toOciSeccomp } from '../../control/runtime/seccomp.ts'

const INPUT: SpecInput = {
  id: 'abc',
  rootfs: '/roots/abc',
  command: ['/opt/opensandbox/bin/tini'],
  guestDir: '/guest',
  exchangeDir: '/exchange',
  hostDirs: ['/usr'],
  mounts: [{ source: '/data', target: '/mnt/data', readOnly: true }],
  cgroupPath: '/opensandbox-1/abc',
  limits: { nanoCpus: 500_000_000, memoryBytes: 1 << 28 },
  pidsLimit: 100,
  openFiles: 1024,
  countsSwap: true,
  allowNamespaces: false,
  seccomp: { defaultAction: 'SCMP_ACT_ERRNO', architectures: [], syscalls: [] },
}
type Spec = {
  process: { noNewPrivileges: boolean; env: string[]; capabilities: Record<string, string[]> }
  mounts: { destination: string; source: string; type: string; options: string[] }[]
  linux: {
    maskedPaths: string[]
    readonlyPaths: string[]
    namespaces: { type: string }[]
    resources: { cpu?: object; memory?: object; pids: object; devices: object[] }
    uidMappings: { hostID: number }[]
  }
}
const specOf = (change: Partial<SpecInput> = {}) => makeSpec({ ...INPUT, ...change }) as Spec

describe('makeSpec()', () => {
  test('gives a sandbox every namespace of its own, no new privileges, and no root of the host', () => {
    const { linux, process } = specOf()
    expect(linux.namespaces.map(({ type }) => type).sort()).toEqual([
      'cgroup',
      'ipc',
      'mount',
      'network',
      'pid',
      'user',
      'uts',
    ])
    expect(process.noNewPrivileges).toBe(true)
    expect(linux.uidMappings.every(({ hostID }) => hostID >= 65_536)).toBe(true)
  })

  test("names execd's time zone, which it would search an image for, and nothing of the host's environment", () => {
    expect(specOf().process.env.map((pair) => pair.split('=')[0])).toEqual(['PATH', 'TZ'])
  })

  test('gives no capability by which a sandbox reaches its network, mounts, modules or other processes', () => {
    const held = Object.values(specOf().process.capabilities).flat()
    for (const name of [
      'NET_ADMIN',
      'NET_RAW',
      'SYS_ADMIN',
      'SYS_PTRACE',
      'SYS_MODULE',
      'MKNOD',
      'SYS_RAWIO',
      'BPF',
    ])
      expect(held).not.toContain(`CAP_${name}`)
  })

  test('turns limits into quotas', () => {
    expect(specOf().linux.resources.cpu).toEqual({ quota: 50_000, period: 100_000 })
    expect(specOf().linux.resources.memory).toEqual({ limit: 1 << 28, swap: 1 << 28 })
    expect(specOf({ countsSwap: false }).linux.resources.memory).toEqual({ limit: 1 << 28 })
    expect(specOf({ limits: { nanoCpus: 1_000_000 } }).linux.resources.cpu).toEqual({
      quota: 1000,
      period: 100_000,
    })
    expect(specOf({ limits: {} }).linux.resources).toEqual({
      devices: [{ allow: false, access: 'rwm' }],
      pids: { limit: 100 },
    })
  })

  test('mounts what is ours last, and what must not be written read-only', () => {
    const { mounts } = specOf()
    expect(mounts.slice(-2).map(({ destination }) => destination)).toEqual([
      '/opt/opensandbox',
      '/run/opensandbox',
    ])
    for (const path of ['/usr', '/mnt/data', '/opt/opensandbox', '/sys'])
      expect(mounts.find(({ destination }) => destination === path)?.options).toContain('ro')
    for (const { source, options } of mounts.filter(({ options }) => options.includes('rbind')))
      expect(options, source).toEqual(expect.arrayContaining(['nosuid', 'nodev']))
  })
})

describe('makeSpec() for a sandbox that may make namespaces of its own', () => {
  const { linux, process, mounts } = specOf({ allowNamespaces: true })

  test('gives it no capability that others have not', () => {
    expect(process.capabilities).toEqual(specOf().process.capabilities)
    expect(process.noNewPrivileges).toBe(true)
  })

  test('hides nothing of its /proc, without which the kernel would mount no second one, and still hides /sys', () => {
    expect(linux.readonlyPaths).toEqual([])
    expect(linux.maskedPaths).toEqual(specOf().linux.maskedPaths.filter((path) => path.startsWith('/sys/')))
    expect(linux.maskedPaths).not.toEqual([])
  })

  test('gives execd a place for layers that is no overlay itself, below what is ours', () => {
    const at = mounts.findIndex(({ destination }) => destination === '/var/lib/execd/isolation')
    expect(mounts[at]).toMatchObject({ type: 'tmpfs', options: ['nosuid', 'nodev', 'mode=0700'] })
    expect(at).toBeLessThan(mounts.findIndex(({ destination }) => destination === '/opt/opensandbox'))
    expect(specOf().mounts.map(({ destination }) => destination)).not.toContain('/var/lib/execd/isolation')
  })
})

describe('toOciSeccomp()', () => {
  const profile: DockerProfile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    syscalls: [
      { names: ['read', 'clone', 'clone3', 'unshare', 'mount'], action: 'SCMP_ACT_ALLOW' },
      { names: ['arch_prctl'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['amd64'] } },
      { names: ['bpf'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
      {
        names: ['bpf', 'sethostname'],
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 1,
        excludes: { caps: ['CAP_SYS_ADMIN'] },
      },
      { names: ['chroot'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_CHROOT'] } },
    ],
  }
  const allowed = (result: ReturnType<typeof toOciSeccomp>) =>
    result.syscalls.filter(({ action }) => action === 'SCMP_ACT_ALLOW').flatMap(({ names }) => names)

  test('resolves conditions by architecture and capabilities', () => {
    expect(allowed(toOciSeccomp(profile, 'x64', ['CAP_SYS_CHROOT']))).toEqual([
      'read',
      'arch_prctl',
      'chroot',
      'clone',
    ])
    expect(allowed(toOciSeccomp(profile, 'arm64', []))).toEqual(['read', 'clone'])
  })

  test('lets nobody make namespaces, whatever the profile says', () => {
    const { syscalls } = toOciSeccomp(profile, 'x64', [])
    const refused = syscalls.filter(({ action }) => action === 'SCMP_ACT_ERRNO').flatMap(({ names }) => names)
    expect(refused).toEqual(
      expect.arrayContaining(['unshare', 'setns', 'mount', 'pivot_root', 'clone3', 'bpf']),
    )
    expect(syscalls.find(({ names }) => names.includes('clone'))?.args).toEqual([
      { index: 0, value: 0x7e020000, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' },
    ])
  })

  test('lets a sandbox make namespaces when it may, by the older calls alone', () => {
    const result = toOciSeccomp(profile, 'x64', [], { allowNamespaces: true })
    expect(allowed(result)).toEqual(
      expect.arrayContaining(['unshare', 'setns', 'mount', 'umount2', 'pivot_root', 'clone']),
    )
    expect(result.syscalls.find(({ names }) => names.includes('clone'))?.args).toBeUndefined()
    for (const name of ['fsopen', 'move_mount', 'mount_setattr', 'clone3'])
      expect(result.syscalls.find(({ names }) => names.includes(name))).toMatchObject({
        action: 'SCMP_ACT_ERRNO',
        errnoRet: 38,
      })
    // What stands on a capability stays refused, but for the name of a namespace's own host. No call has two answers.
    expect(allowed(result)).not.toContain('bpf')
    expect(allowed(result)).toContain('sethostname')
    const names = result.syscalls.flatMap((rule) => rule.names)
    expect(new Set(names).size).toBe(names.length)
  })

  test("takes Debian's profile, with no condition left in it", () => {
    const text = readFileSync('/usr/share/containers/seccomp.json', 'utf8')
    const result = toOciSeccomp(JSON.parse(text) as DockerProfile, 'x64', CAPABILITIES)
    expect(allowed(result)).toEqual(expect.arrayContaining(['openat', 'execve', 'futex', 'chroot']))
    expect(allowed(result)).not.toEqual(expect.arrayContaining(['init_module']))
    expect(JSON.stringify(result)).not.toMatch(/includes|excludes/)
  })

  test('refuses an architecture that it does not know, with those that it knows', () => {
    expect(() => toOciSeccomp(profile, 'mips', [])).toThrow('"mips": allowed are x64, arm64')
  })
})

describe('createAddressPool()', () => {
  test('gives every address once, and never the network, the gateway or the broadcast address', () => {
    const pool = createAddressPool('10.9.8.0/29', '10.9.8.1')
    expect(Array.from({ length: 5 }, () => pool.take())).toEqual([
      '10.9.8.2',
      '10.9.8.3',
      '10.9.8.4',
      '10.9.8.5',
      '10.9.8.6',
    ])
    expect(() => pool.take()).toThrow('All 8 addresses of 10.9.8.0/29 are in use')
    pool.release('10.9.8.4')
    expect(pool.take()).toBe('10.9.8.4')
  })

  test('lets an address rest before it gives it again, and skips those that are reserved', () => {
    const pool = createAddressPool('10.9.8.0/28', '10.9.8.1')
    const first = pool.take()
    pool.release(first)
    expect(pool.take()).not.toBe(first)
    pool.reserve('10.9.8.9')
    expect(Array.from({ length: 3 }, () => pool.take())).toEqual(['10.9.8.10', '10.9.8.11', '10.9.8.12'])
  })
})

describe('findMissing()', () => {
  const machine: Machine = { uid: 0, has: () => true, filesystems: 'nodev\toverlay\n' }
  const without = (...paths: string[]): Machine => ({
    ...machine,
    has: (path) => !paths.some((each) => path.endsWith(each)),
  })

  test('finds nothing on a machine that has everything', () => {
    expect(findMissing(machine, 'runc')).toEqual([])
  })

  test.each([
    [{ ...machine, uid: 1000 }, /^Root is needed/],
    [without('/runc'), /OCI runtime "runc" is not in .*: install it/],
    [without('/ip'), /"ip" is missing: install the package iproute2/],
    [without('seccomp.json'), /seccomp profile .* golang-github-containers-common/],
    [{ ...without('/sys/module/overlay'), filesystems: 'nodev\tproc\n' }, /no overlay file system/],
    [without('/proc/self/ns/user'), /no user namespaces/],
    [without('cgroup.controllers', '/memory'), /No cgroups are mounted/],
  ])('says in one sentence what is missing (%#)', (found, sentence) => {
    const missing = findMissing(found, 'runc')
    expect(missing).toHaveLength(1)
    expect(missing[0]).toMatch(sentence)
  })
})

test.each([
  ['/var/lib/opensandbox', undefined],
  ['/srv/of many words/ü#\t', undefined],
  ['/srv/a:b', /"\/srv\/a:b": its path has ":"/],
  ['/srv/a,b', /its path has ","/],
  ['/srv/a\\b', /its path has "\\"/],
])('whyNoPlace(%j) tells what the kernel cannot mount', (path, sentence) => {
  if (sentence === undefined) expect(whyNoPlace(path)).toBeUndefined()
  else expect(whyNoPlace(path)).toMatch(sentence)
})

test.each([
  [['./', './bin/', './usr/bin/x'], 'rootfs'],
  [['oci-layout', 'index.json', 'blobs/sha256/x'], 'oci-archive'],
  [['manifest.json', 'abc/layer.tar', 'repositories'], 'docker-archive'],
  [['manifest.json', 'oci-layout', 'index.json'], 'docker-archive'],
  [['README', 'src/x'], undefined],
  [[''], undefined],
])('decideArchiveKind(%j) is %s', (entries, kind) => {
  expect(decideArchiveKind(entries)).toBe(kind)
})

test("readBundleConfig() reads the image's environment, directory and user, without umoci's own additions", () => {
  const process = {
    env: ['A=b=c', 'TERM=xterm', 'HOME=/root', 'broken'],
    cwd: '/srv',
    user: { uid: 5, gid: 6 },
  }
  expect(readBundleConfig(JSON.stringify({ process }))).toEqual({
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', A: 'b=c' },
    workdir: '/srv',
    uid: 5,
    gid: 6,
  })
  expect(readBundleConfig('{}')).toMatchObject({ workdir: '/', uid: 0, gid: 0 })
})

test('interfaceOf() fits the 15 characters of an interface name and differs by sandbox', () => {
  expect(interfaceOf('a', 'osb1234')).toMatch(/^osb1234[0-9a-f]{8}$/)
  expect(interfaceOf('a', 'osb1234')).not.toBe(interfaceOf('b', 'osb1234'))
})
