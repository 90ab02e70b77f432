// The options of bwrap for a session (contract: execd.md 8.4): what it sees, in the order of the contract, where a later mount
// lies over an earlier one. Pure, so that the order is a table of tests. Other sessions, and what is execd's own, lie below
// empty directories; the capabilities that are left are those of an ordinary root.

import { dirname } from 'node:path'
import type { Profile, UidMode } from '../../lib/api/execd-isolated.ts'
import { FRESH_DIRS, isWithin, type MountPlan, type PlannedMount } from './mounts.ts'

/** What root in a session may do; none of it reaches beyond its files and processes. */
export const SESSION_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETUID',
] // prettier-ignore

/** The whole of the root that the profile `minimal` shows, where it is there. */
const MINIMAL_ROOT = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/etc/alternatives',
  '/etc/ca-certificates',
  '/etc/ca-certificates.conf',
  '/etc/debian_version',
  '/etc/group',
  '/etc/hosts',
  '/etc/ld.so.cache',
  '/etc/ld.so.conf',
  '/etc/ld.so.conf.d',
  '/etc/localtime',
  '/etc/mime.types',
  '/etc/nsswitch.conf',
  '/etc/os-release',
  '/etc/passwd',
  '/etc/pki',
  '/etc/profile',
  '/etc/protocols',
  '/etc/resolv.conf',
  '/etc/services',
  '/etc/ssl',
] // prettier-ignore

export type ArgumentsInput = {
  profile: Profile
  uidMode: UidMode
  user: { uid: number; gid: number }
  shareNet: boolean
  plan: MountPlan
  /** The joined directory of a mount of the mode `overlay`. */
  mergedOf: (mount: PlannedMount) => string
  /** What is mounted below the sandbox's root, for a session that has `/` itself as a mount. */
  rootMounts: string[]
  /** Where the programs lie that a session begins with, and that reach its files. */
  runtimeDir: string
  /** Directories that no session sees into. */
  hidden: string[]
  /** Whether bwrap can keep a session in a user namespace from making further ones. */
  canDisableUserns: boolean
  /** Where the command begins. */
  cwd: string
  /** The complete environment. */
  env: Record<string, string>
}

/** All options but those that name descriptors and the command. */
export function bwrapOptions(input: ArgumentsInput): string[] {
  const { uidMode, user, shareNet, cwd, env } = input
  const isUserns = uidMode === 'userns'
  return [
    ...(isUserns ? ['--unshare-user', ...(input.canDisableUserns ? ['--disable-userns'] : [])] : []),
    '--unshare-pid',
    '--unshare-uts',
    ...['--hostname', 'sandbox'],
    '--unshare-ipc',
    '--unshare-cgroup-try',
    ...(shareNet ? [] : ['--unshare-net']),
    ...(isUserns ? ['--uid', String(user.uid), '--gid', String(user.gid)] : []),
    ...['--cap-drop', 'ALL'],
    // Who is not root inside of a user namespace has none, and no setpriv comes before.
    ...(isUserns && user.uid !== 0 ? [] : SESSION_CAPABILITIES.flatMap((name) => ['--cap-add', name])),
    ...rootOptions(input),
    ...mountOptions(input),
    '--clearenv',
    ...Object.entries(env).flatMap(([name, value]) => ['--setenv', name, value]),
    ...['--chdir', cwd],
    '--die-with-parent',
  ]
}

function rootOptions({ profile, plan, mergedOf, rootMounts, runtimeDir }: ArgumentsInput): string[] {
  const own = plan.mounts.find(({ path }) => path === '/')
  const root =
    own?.mode === 'overlay'
      ? // Joined directories have nothing of what is mounted below the root.
        ['--bind', mergedOf(own), '/', ...rootMounts.flatMap((path) => ['--ro-bind', path, path])]
      : own
        ? [own.mode === 'rw' ? '--bind' : '--ro-bind', '/', '/']
        : profile === 'minimal'
          ? [...MINIMAL_ROOT, runtimeDir].flatMap((path) => ['--ro-bind-try', path, path])
          : ['--ro-bind', '/', '/']
  const tmp = profile === 'balanced' ? ['--bind', '/tmp', '/tmp'] : ['--perms', '1777', '--tmpfs', '/tmp']
  return [
    ...root,
    // A workspace of this name lies there instead.
    ...(plan.mounts.some(({ path }) => path === '/tmp') ? [] : tmp),
    ...['--tmpfs', '/run'],
    // What a session begins with is hidden by neither.
    ...FRESH_DIRS.filter((dir) => isWithin(runtimeDir, dir)).flatMap((dir) => showAgain(runtimeDir, dir)),
    ...['--dev', '/dev'],
    ...['--perms', '1777', '--tmpfs', '/dev/shm'],
    ...['--proc', '/proc'],
  ]
}

/** A directory below one that was covered, on a way that every user may go. */
function showAgain(path: string, covered: string): string[] {
  const ways: string[] = []
  for (let way = dirname(path); way !== covered && way !== '/'; way = dirname(way)) ways.unshift(way)
  return [...ways.flatMap((way) => ['--perms', '0755', '--dir', way]), '--ro-bind', path, path]
}

function mountOptions({ plan, mergedOf, hidden }: ArgumentsInput): string[] {
  // A mount below another one must come after it.
  const byDepth = plan.mounts
    .filter(({ path }) => path !== '/')
    .toSorted((a, b) => depthOf(a.path) - depthOf(b.path))
  return [
    ...byDepth.flatMap((mount) => {
      if (mount.mode === 'overlay') return ['--bind', mergedOf(mount), mount.path]
      return [mount.mode === 'ro' ? '--ro-bind' : '--bind', mount.path, mount.path]
    }),
    // What lies below /run is hidden with it.
    ...hidden
      .filter((path) => !isWithin(path, '/run'))
      .flatMap((path) => ['--perms', '0700', '--tmpfs', path]),
    ...plan.binds.flatMap(({ source, dest, readOnly }) => [readOnly ? '--ro-bind' : '--bind', source, dest]),
  ]
}

function depthOf(path: string): number {
  return path.split('/').length
}
