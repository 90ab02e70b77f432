import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ArgumentsInput, bwrapOptions } from '../../../execd/isolated/arguments.ts'
import { DEFAULT_CONFIG } from '../../../execd/isolated/config.ts'
import { confine } from '../../../execd/isolated/confine.ts'
import { type MountPlan, planMounts, readMountPoints, rootMounts } from '../../../execd/isolated/mounts.ts'
import { parseSessionRequest } from '../../../execd/isolated/request.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'mounts-'))
  for (const name of ['ws', 'ws/inner', 'allowed', 'allowed/a', 'other', 'vital/inside'])
    mkdirSync(join(dir, name), { recursive: true })
  writeFileSync(join(dir, 'file'), '')
  writeFileSync(join(dir, 'other/secret'), '')
  symlinkSync(join(dir, 'ws'), join(dir, 'to-ws'))
  symlinkSync(join(dir, 'other'), join(dir, 'allowed/to-other'))
  symlinkSync('../other/secret', join(dir, 'ws/out'))
  symlinkSync('inner', join(dir, 'ws/in'))
  symlinkSync('../other/new', join(dir, 'ws/dangling-out'))
  symlinkSync('loop', join(dir, 'ws/loop'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const plan = (body: Record<string, unknown>) =>
  planMounts(parseSessionRequest(body), {
    config: { ...DEFAULT_CONFIG, upperRoot: join(dir, 'upper'), allowedWritable: [join(dir, 'allowed')] },
    vital: [join(dir, 'vital')],
    owner: { uid: 0, gid: 0 },
    fixedMounts: ['/proc', join(dir, 'other/mount')],
  })
const workspace = () => ({ path: join(dir, 'ws'), mode: 'rw' })

describe('planMounts()', () => {
  test('resolves links once, so that a link that is changed later leads nowhere else', () => {
    expect(plan({ workspace: { path: join(dir, 'to-ws') } }).mounts[0]?.path).toBe(join(dir, 'ws'))
  })

  test('makes a directory that is missing', () => {
    plan({ workspace: { path: join(dir, 'made/deep') } })
    expect(statSync(join(dir, 'made/deep')).mode & 0o777).toBe(0o755)
  })

  test.each<[string, () => Record<string, unknown>, RegExp]>([
    ['a file as a workspace', () => ({ workspace: { path: join(dir, 'file') } }), /is not a directory/],
    ['the kernel', () => ({ workspace: { path: '/proc' } }), /Cannot mount at "\/proc"/],
    [
      'a place in what execd needs',
      () => ({ workspace: { path: join(dir, 'vital/inside') } }),
      /vital" is not a session's/,
    ],
    ['a place over what execd needs', () => ({ workspace: { path: dir } }), /vital" is not a session's/],
    [
      'a place in the layers',
      () => ({ workspace: { path: join(dir, 'upper/x') } }),
      /upper" is not a session's/,
    ],
    [
      'two ways to one directory',
      () => ({ workspace: workspace(), overlays: [{ path: join(dir, 'to-ws') }] }),
      /same directory/,
    ],
    [
      'a source that is not there',
      () => ({ workspace: workspace(), extra_writable: [join(dir, 'allowed/no')] }),
      /there is no file/,
    ],
    [
      'a source that is not allowed',
      () => ({ workspace: workspace(), extra_writable: [join(dir, 'other')] }),
      /allowed are .*allowed/,
    ],
    [
      'a link out of what is allowed',
      () => ({ workspace: workspace(), binds: [{ source: join(dir, 'allowed/to-other') }] }),
      /which leads to ".*other"/,
    ],
    [
      'a read-only bind of what is not allowed',
      () => ({ workspace: workspace(), binds: [{ source: '/etc', readonly: true }] }),
      /not below a directory/,
    ],
    [
      'a bind over what execd needs',
      () => ({
        workspace: workspace(),
        binds: [{ source: join(dir, 'allowed/a'), dest: join(dir, 'vital') }],
      }),
      /vital" is not a session's/,
    ],
  ])('refuses %s', (_what, body, message) => {
    expect(() => plan(body())).toThrow(message)
  })

  test('refuses an overlay over what is mounted there by others, but not its other modes', () => {
    for (const path of ['/', join(dir, 'other')]) {
      expect(() => plan({ overlays: [{ path }] })).toThrow('because something else is mounted below it')
      expect(plan({ overlays: [{ path, mode: 'ro' }] }).mounts[0]?.path).toBe(path)
    }
  })

  test('takes the whole root as a mount, and binds of what is allowed', () => {
    expect(plan({ overlays: [{ path: '/', mode: 'rw' }] }).mounts).toEqual([
      { path: '/', mode: 'rw', persist: true },
    ])
    const source = join(dir, 'allowed/a')
    expect(
      plan({
        workspace: workspace(),
        extra_writable: [source],
        binds: [{ source, dest: '/mnt', readonly: true }],
      }).binds,
    ).toEqual([
      { source, dest: source, readOnly: false },
      { source, dest: '/mnt', readOnly: true },
    ])
  })
})

describe('bwrapOptions()', () => {
  const input = (
    change: Partial<ArgumentsInput> = {},
    mounts: MountPlan['mounts'] = [{ path: '/w', mode: 'rw', persist: true }],
  ): ArgumentsInput => ({
    profile: 'strict',
    uidMode: 'setpriv',
    user: { uid: 0, gid: 0 },
    shareNet: true,
    plan: { mounts, binds: [] },
    mergedOf: ({ path }) => `/upper/merged${path}`,
    rootMounts: ['/usr'],
    runtimeDir: '/opt/opensandbox',
    hidden: ['/upper', '/run/opensandbox'],
    canDisableUserns: true,
    cwd: '/w',
    env: { A: 'b' },
    ...change,
  })
  const line = (...args: Parameters<typeof input>) => bwrapOptions(input(...args)).join(' ')

  test('has the order of the contract', () => {
    const order = [
      '--unshare-pid',
      '--unshare-uts',
      '--hostname sandbox',
      '--unshare-ipc',
      '--ro-bind / /',
      '--tmpfs /tmp',
      '--tmpfs /run',
      '--dev /dev',
      '--proc /proc',
      '--bind /w /w',
      '--tmpfs /upper',
      '--clearenv',
      '--setenv A b',
      '--die-with-parent',
    ]
    const found = order.map((part) => line().indexOf(part))
    expect(found).not.toContain(-1)
    expect(found).toEqual(found.toSorted((a, b) => a - b))
  })

  test('leaves a session no capability that reaches beyond its files and processes', () => {
    expect(line()).toContain('--cap-drop ALL')
    const kept = bwrapOptions(input()).filter((word) => word.startsWith('CAP_'))
    for (const name of [
      'SYS_ADMIN',
      'NET_ADMIN',
      'SYS_PTRACE',
      'SYS_CHROOT',
      'MKNOD',
      'SETPCAP',
      'DAC_READ_SEARCH',
    ])
      expect(kept).not.toContain(`CAP_${name}`)
    expect(line({ uidMode: 'userns', user: { uid: 1000, gid: 1000 } })).not.toContain('CAP_')
  })

  test('shows by the mode of a mount what may be written', () => {
    const mounts = [
      { path: '/a/deep', mode: 'ro' as const, persist: true },
      { path: '/a', mode: 'overlay' as const, persist: true },
    ]
    const options = line({}, mounts)
    expect(options).toContain('--ro-bind /a/deep /a/deep')
    expect(options).toContain('--bind /upper/merged/a /a')
    // What lies below another mount comes after it.
    expect(options.indexOf('/upper/merged/a /a')).toBeLessThan(options.indexOf('/a/deep /a/deep'))
  })

  test('has a /tmp of its own, or the shared one, or the workspace', () => {
    expect(line()).toContain('--perms 1777 --tmpfs /tmp')
    expect(line({ profile: 'balanced' })).toContain('--bind /tmp /tmp')
    expect(line({}, [{ path: '/tmp', mode: 'rw', persist: true }])).not.toContain('--tmpfs /tmp')
  })

  test('cuts the network, and makes a user namespace, when asked', () => {
    expect(line()).not.toContain('--unshare-net')
    expect(line({ shareNet: false })).toContain('--unshare-net')
    const userns = line({ uidMode: 'userns', user: { uid: 7, gid: 8 } })
    expect(userns).toMatch(/^--unshare-user --disable-userns .*--uid 7 --gid 8/)
    expect(line({ uidMode: 'userns', canDisableUserns: false })).not.toContain('--disable-userns')
  })

  test('I2: the profile "minimal" shows programs and public files, and nothing else of the root', () => {
    const options = line({ profile: 'minimal' })
    expect(options).not.toContain('--ro-bind / /')
    for (const path of ['/usr', '/etc/ssl', '/etc/passwd', '/opt/opensandbox'])
      expect(options).toContain(`--ro-bind-try ${path} ${path}`)
    for (const path of ['/root', '/home', '/var', '/srv', '/etc/shadow', '/etc/ssh', '/etc ', '/opt '])
      expect(options).not.toContain(`--ro-bind-try ${path}`)
  })

  test('gives the root itself as a mount, with what is mounted below it', () => {
    const root = { path: '/', persist: true }
    expect(line({}, [{ ...root, mode: 'overlay' }])).toContain('--bind /upper/merged/ / --ro-bind /usr /usr')
    expect(line({}, [{ ...root, mode: 'rw' }])).toContain('--bind / /')
    expect(line({}, [{ ...root, mode: 'ro' }])).toContain('--ro-bind / /')
  })
})

test('rootMounts() lists what is mounted below the root, and not what a session gets anew', () => {
  const mountinfo = [
    '/',
    '/proc',
    '/proc/sys',
    '/dev',
    '/run/x',
    '/tmp',
    '/var/lib/data',
    '/usr',
    '/mnt/a\\040b',
  ]
    .map((path, index) => `${index} 1 0:1 / ${path} rw - ext4 /dev/x rw`)
    .join('\n')
  expect(rootMounts(readMountPoints(mountinfo))).toEqual(['/usr', '/mnt/a b', '/var/lib/data'])
})

describe('confine()', () => {
  const check = (path: string, { isWriting = false, followsLast = true } = {}) =>
    confine(join(dir, path), {
      isWriting,
      followsLast,
      roots: [
        { path: join(dir, 'ws'), isWritable: true },
        { path: join(dir, 'ws/inner'), isWritable: false },
      ],
    })

  test.each(['ws', 'ws/new/deep', 'ws/in', 'ws/inner/x'])('reaches %s', (path) => {
    expect(() => check(path)).not.toThrow()
  })
  test.each(['other', '.', 'ws-2', 'ws/out', 'ws/dangling-out', 'ws/../other'])(
    'I1: does not reach %s',
    (path) => {
      expect(() => check(path)).toThrow('leads out of the session')
    },
  )
  test('a link that leads out can be looked at and removed, but not gone through', () => {
    expect(() => check('ws/out', { isWriting: true, followsLast: false })).not.toThrow()
    expect(() => check('ws/out/x', { followsLast: false })).toThrow()
    expect(() => check('ws/loop')).toThrow('Cannot reach')
  })
  test('writes only where that is allowed, however it is named', () => {
    expect(() => check('ws/x', { isWriting: true })).not.toThrow()
    expect(() => check('ws/inner/x', { isWriting: true })).toThrow('read-only')
    expect(() => check('ws/in/x', { isWriting: true })).toThrow('read-only')
  })
})
