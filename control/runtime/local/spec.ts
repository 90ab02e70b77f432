// The OCI configuration of a sandbox, made from values alone. This file decides what a sandbox is kept from; it is read by
// heart (design 4). Namespaces of everything, a user namespace whose root is nobody outside, the capabilities of an ordinary
// server's root and none that reaches the kernel, no new privileges, a seccomp filter, limits by cgroup.

import { EXCHANGE_DIR, GUEST_DIR, ISOLATION_DIR } from '../../../lib/api/guest.ts'
import { ID_MAP } from '../../image/image.ts'
import { ipv6Sysctls } from '../ipv6-sysctls.ts'
import type { OciSeccomp } from '../seccomp.ts'

/** Neither NET_ADMIN, NET_RAW, SYS_ADMIN, SYS_PTRACE, SYS_MODULE nor MKNOD (contract: lifecycle.md 6.2, drop_capabilities). */
export const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
] as const // prettier-ignore

const CPU_PERIOD_US = 100_000

const MASKED_PROC = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
] // prettier-ignore
const MASKED_SYS = ['/sys/devices/virtual/powercap', '/sys/firmware']
const READONLY_PROC = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/** Where execd keeps what isolated sessions write: the root is an overlay, and the upper layer of one must not lie on another. */
const ISOLATION_TMPFS = {
  destination: ISOLATION_DIR,
  type: 'tmpfs',
  source: 'tmpfs',
  options: ['nosuid', 'nodev', 'mode=0700'],
}

export type SpecInput = {
  id: string
  rootfs: string
  /** execd's command, absolute inside the sandbox. */
  command: string[]
  guestDir: string
  exchangeDir: string
  /** Whether sandboxes have IPv6. */
  opensIpv6?: boolean
  hostDirs: string[]
  mounts: { source: string; target: string; readOnly: boolean }[]
  /** What it trusts: read-only, and over whatever the image has there. */
  trust?: { source: string; target: string }[]
  cgroupPath: string
  limits: { nanoCpus?: number; memoryBytes?: number }
  pidsLimit: number
  /** No more than this process may open itself: raising a limit takes a capability that root may lack. */
  openFiles: number
  /** Whether the kernel counts swap per cgroup; setting a limit where it does not is an error. */
  countsSwap: boolean
  seccomp: OciSeccomp
  /**
   * Whether processes may make namespaces of their own, with a `seccomp` that lets them. They get no capability by it, but
   * nothing of /proc is hidden: the kernel mounts a second /proc only where the first one can be seen whole.
   */
  allowNamespaces: boolean
}

const bind = (source: string, destination: string, ...options: string[]) => ({
  destination,
  source,
  type: 'bind',
  options: ['rbind', 'rprivate', 'nosuid', 'nodev', ...options],
})

/** The content of config.json (OCI runtime specification 1.0). */
export function makeSpec(input: SpecInput): object {
  const { nanoCpus, memoryBytes } = input.limits
  return {
    ociVersion: '1.0.2',
    hostname: input.id,
    root: { path: input.rootfs },
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: input.command,
      // execd's own; the user's processes get theirs from the boot file. Without TZ, an image that has no /etc/localtime
      // makes Node search all time zones for the machine's at its first date, which takes 13 ms.
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TZ=UTC'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: input.openFiles, soft: input.openFiles }],
      noNewPrivileges: true,
    },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
      },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=67108864'],
      },
      {
        destination: '/dev/mqueue',
        type: 'mqueue',
        source: 'mqueue',
        options: ['nosuid', 'noexec', 'nodev'],
      },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      {
        destination: '/sys/fs/cgroup',
        type: 'cgroup',
        source: 'cgroup',
        options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
      },
      ...input.hostDirs.map((path) => bind(path, path, 'ro')),
      ...input.mounts.map(({ source, target, readOnly }) => bind(source, target, readOnly ? 'ro' : 'rw')),
      ...(input.allowNamespaces ? [ISOLATION_TMPFS] : []),
      // Last, so that nothing of the user's lies over them.
      bind(input.guestDir, GUEST_DIR, 'ro'),
      bind(input.exchangeDir, EXCHANGE_DIR, 'rw', 'noexec'),
      ...(input.trust ?? []).map(({ source, target }) => bind(source, target, 'ro', 'noexec')),
    ],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount', 'user', 'cgroup'].map((type) => ({ type })),
      uidMappings: [{ containerID: 0, hostID: ID_MAP.hostId, size: ID_MAP.size }],
      gidMappings: [{ containerID: 0, hostID: ID_MAP.hostId, size: ID_MAP.size }],
      cgroupsPath: input.cgroupPath,
      resources: {
        // Everything is denied but what the runtime itself allows: null, zero, full, random, tty and the like.
        devices: [{ allow: false, access: 'rwm' }],
        pids: { limit: input.pidsLimit },
        ...(nanoCpus !== undefined && { cpu: { quota: cpuQuota(nanoCpus), period: CPU_PERIOD_US } }),
        ...(memoryBytes !== undefined && {
          memory: { limit: memoryBytes, ...(input.countsSwap && { swap: memoryBytes }) },
        }),
      },
      sysctl: {
        'net.ipv4.ip_unprivileged_port_start': '0',
        'net.ipv4.ping_group_range': `0 ${ID_MAP.size - 1}`,
        ...ipv6Sysctls(input.opensIpv6 === true),
      },
      seccomp: input.seccomp,
      maskedPaths: [...(input.allowNamespaces ? [] : MASKED_PROC), ...MASKED_SYS],
      readonlyPaths: input.allowNamespaces ? [] : READONLY_PROC,
    },
  }
}

/** Microseconds of CPU per period; the kernel takes no less than a thousand. */
function cpuQuota(nanoCpus: number): number {
  return Math.max(1000, Math.round((nanoCpus * CPU_PERIOD_US) / 1e9))
}
