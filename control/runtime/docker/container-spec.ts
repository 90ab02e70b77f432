// What the daemon is asked for, made from values alone. This file decides what a sandbox is kept from; it is read by heart
// (design 4). No network of Docker's, no port, no capability that reaches the kernel, no new privileges, limits, and nothing of what
// an image says about being run, as execd runs it.

import type { ContainerCreateOptions, MountSettings } from 'dockerode'
import { EXCHANGE_DIR, GUEST_DIR, ISOLATION_DIR } from '../../../lib/api/guest.ts'
import type { DockerConfig } from '../../../lib/config/docker.ts'
import { ipv6Sysctls } from '../ipv6-sysctls.ts'
import type { RuntimeSpec } from '../runtime.ts'
import type { ImageVolume } from './image-volumes.ts'

const CPU_PERIOD_US = 100_000
const HIGHEST_GROUP = 65_535

export type ContainerInput = {
  name: string
  labels: Record<string, string>
  /** By Docker's id, so that nobody moves a tag in between. */
  image: string
  /** The variables that the image sets. */
  imageEnv: Record<string, string>
  spec: Pick<RuntimeSpec, 'id' | 'limits'>
  /** What the sandbox mounts, outer targets first: places of this machine, and whole volumes by what the daemon calls them. */
  mounts: { source: string; isVolume?: boolean; target: string; readOnly: boolean }[]
  /** What it trusts: read-only, and over whatever the image has there. */
  trust?: { source: string; target: string }[]
  /** What the image declares to be kept apart, with what it has there copied into it. */
  imageVolumes?: ImageVolume[]
  address: string
  gateway: string
  /** execd's command, absolute inside the sandbox. */
  command: string[]
  guestDir: string
  exchangeDir: string
  /** Directories of the host that belong to the image. */
  hostDirs: string[]
  config: DockerConfig
  openFiles: number
  hasIpv6: boolean
  /** Whether sandboxes have it, too. */
  opensIpv6?: boolean
  /** Present for a sandbox whose processes may make namespaces of their own: the filter that lets them. */
  namespaces?: { seccomp: string }
}

const bind = (source: string, target: string, readOnly: boolean): MountSettings => ({
  Type: 'bind',
  Source: source,
  Target: target,
  ReadOnly: readOnly,
})

/** As it is: what the image has at its target is not copied into it. */
const volume = (name: string, target: string, readOnly: boolean): MountSettings => ({
  ...bind(name, target, readOnly),
  Type: 'volume',
  VolumeOptions: { NoCopy: true, Labels: {}, DriverConfig: { Name: 'local', Options: {} } },
})

/** With a copy of what the image has at its target, as Docker does for what images declare. */
const copied = (name: string, target: string, labels: Record<string, string>): MountSettings => ({
  ...volume(name, target, false),
  VolumeOptions: { NoCopy: false, Labels: labels, DriverConfig: { Name: 'local', Options: {} } },
})

export function makeContainerSpec(input: ContainerInput): ContainerCreateOptions {
  const { spec, config, namespaces } = input
  const { nanoCpus, memoryBytes, diskBytes, gpus } = spec.limits
  return {
    name: input.name,
    Image: input.image,
    Labels: input.labels,
    Hostname: spec.id,
    User: '0:0',
    WorkingDir: '/',
    Entrypoint: input.command,
    Cmd: [],
    // execd's own; the user's processes get theirs from the boot file. A name without a value takes away what the image sets: its
    // LD_PRELOAD or NODE_OPTIONS are for its own programs.
    Env: [
      ...Object.keys(input.imageEnv).filter((name) => name !== 'PATH' && name !== 'TZ'),
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'TZ=UTC',
    ],
    // It would have the daemon start programs in the sandbox.
    Healthcheck: { Test: ['NONE'] },
    StopSignal: 'SIGTERM',
    HostConfig: {
      NetworkMode: 'none',
      Dns: [input.gateway],
      DnsSearch: ['.'],
      ExtraHosts: [`${spec.id}:${input.address}`],
      PublishAllPorts: false,
      Binds: config.sandboxBinds,
      Mounts: [
        ...input.hostDirs.map((path) => bind(path, path, true)),
        ...input.mounts.map(({ source, isVolume, target, readOnly }) =>
          isVolume ? volume(source, target, readOnly) : bind(source, target, readOnly),
        ),
        ...(input.imageVolumes ?? []).map(({ name, target }) => copied(name, target, input.labels)),
        bind(input.guestDir, GUEST_DIR, true),
        bind(input.exchangeDir, EXCHANGE_DIR, false),
        ...(input.trust ?? []).map(({ source, target }) => bind(source, target, true)),
      ],
      ...(namespaces && { Tmpfs: { [ISOLATION_DIR]: 'rw,nosuid,nodev,mode=0700' } }),
      CapDrop: config.dropCapabilities,
      SecurityOpt: [
        ...(config.noNewPrivileges ? ['no-new-privileges:true'] : []),
        ...(config.apparmorProfile ? [`apparmor=${config.apparmorProfile}`] : []),
        ...(namespaces
          ? [`seccomp=${namespaces.seccomp}`]
          : config.seccompProfile
            ? [`seccomp=${config.seccompProfile}`]
            : []),
      ],
      // The kernel mounts a second /proc only where the first one can be seen whole.
      ...(namespaces && { MaskedPaths: [], ReadonlyPaths: [] }),
      Privileged: false,
      IpcMode: 'private',
      CgroupnsMode: 'private',
      Sysctls: {
        'net.ipv4.ip_unprivileged_port_start': '0',
        'net.ipv4.ping_group_range': `0 ${HIGHEST_GROUP}`,
        ...(input.hasIpv6 && ipv6Sysctls(input.opensIpv6 === true)),
      },
      PidsLimit: config.pidsLimit,
      ...(nanoCpus !== undefined && { CpuPeriod: CPU_PERIOD_US, CpuQuota: cpuQuota(nanoCpus) }),
      // Without its own limit, swap would be as much again.
      ...(memoryBytes !== undefined && { Memory: memoryBytes, MemorySwap: memoryBytes }),
      ...(diskBytes !== undefined && { StorageOpt: { size: String(diskBytes) } }),
      ...(gpus !== undefined && { DeviceRequests: [{ Count: gpus, Capabilities: [['gpu']] }] }),
      Ulimits: [{ Name: 'nofile', Soft: input.openFiles, Hard: input.openFiles }],
      ...(config.ociRuntime && { Runtime: config.ociRuntime }),
      // execd keeps the output of the entrypoint, within a bound.
      LogConfig: { Type: 'none', Config: {} },
      RestartPolicy: { Name: 'no' },
      AutoRemove: false,
      Init: false,
    },
  } as ContainerCreateOptions
}

/** Microseconds of CPU per period; the kernel takes no less than a thousand. */
function cpuQuota(nanoCpus: number): number {
  return Math.max(1000, Math.round((nanoCpus * CPU_PERIOD_US) / 1e9))
}
