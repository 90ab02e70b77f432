import { describe, expect, test } from 'vitest'
import { type ContainerInput, makeContainerSpec } from '../../../control/runtime/docker/container-spec.ts'
import { DROPPED_CAPABILITIES } from '../../../lib/config/docker.ts'

const MOUNTS = [{ source: '/srv/a', target: '/data', readOnly: true }]
const INPUT = {
  name: 'opensandbox-ab12-s1',
  labels: { a: 'b' },
  image: 'sha256:1',
  imageEnv: { PATH: '/opt/bin', LD_PRELOAD: '/evil.so', NODE_OPTIONS: '--inspect=0.0.0.0' },
  spec: { id: 's1', limits: {}, mounts: MOUNTS },
  mounts: MOUNTS,
  address: '10.0.0.2',
  gateway: '10.0.0.1',
  command: ['/opt/opensandbox/bin/tini'],
  guestDir: '/d/guest',
  exchangeDir: '/d/exchange',
  hostDirs: ['/usr'],
  config: {
    apiTimeoutSeconds: 180,
    dropCapabilities: DROPPED_CAPABILITIES,
    noNewPrivileges: true,
    pidsLimit: 100,
    sandboxEnv: {},
    sandboxBinds: ['/etc/ssl:/etc/ssl:ro'],
  },
  openFiles: 1024,
  hasIpv6: true,
} as ContainerInput

describe('makeContainerSpec()', () => {
  test('gives a container no network of Docker’s, no port and no privilege, whatever the image says', () => {
    expect(makeContainerSpec(INPUT)).toMatchObject({
      User: '0:0',
      WorkingDir: '/',
      Entrypoint: INPUT.command,
      Cmd: [],
      Healthcheck: { Test: ['NONE'] },
      HostConfig: {
        NetworkMode: 'none',
        Dns: ['10.0.0.1'],
        PublishAllPorts: false,
        Privileged: false,
        CapDrop: DROPPED_CAPABILITIES,
        SecurityOpt: ['no-new-privileges:true'],
        PidsLimit: 100,
        LogConfig: { Type: 'none' },
        RestartPolicy: { Name: 'no' },
        AutoRemove: false,
        Binds: ['/etc/ssl:/etc/ssl:ro'],
        Mounts: [
          { Source: '/usr', Target: '/usr', ReadOnly: true },
          { Source: '/srv/a', Target: '/data', ReadOnly: true },
          { Source: '/d/guest', Target: '/opt/opensandbox', ReadOnly: true },
          { Source: '/d/exchange', Target: '/run/opensandbox', ReadOnly: false },
        ],
      },
    })
  })

  test('takes every variable of the image away from execd', () => {
    const { Env = [] } = makeContainerSpec(INPUT)
    expect(Env.filter((pair) => pair.includes('='))).toEqual([
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'TZ=UTC',
    ])
    expect(Env).toContain('LD_PRELOAD')
    expect(Env).toContain('NODE_OPTIONS')
  })

  test.each([
    [{ nanoCpus: 5e8 }, { CpuPeriod: 100_000, CpuQuota: 50_000 }],
    [{ nanoCpus: 1 }, { CpuQuota: 1000 }],
    [{ memoryBytes: 1000 }, { Memory: 1000, MemorySwap: 1000 }],
  ])('S10: %j is %j', (limits, expected) => {
    const { HostConfig } = makeContainerSpec({ ...INPUT, spec: { ...INPUT.spec, limits } })
    expect(HostConfig).toMatchObject(expected)
  })

  test('limits nothing that nobody limits', () => {
    const { HostConfig } = makeContainerSpec(INPUT)
    for (const name of ['Memory', 'MemorySwap', 'CpuQuota', 'Runtime', 'MaskedPaths'])
      expect(HostConfig).not.toHaveProperty(name)
  })

  test('names profiles and the runtime that are configured', () => {
    const { HostConfig } = makeContainerSpec({
      ...INPUT,
      config: {
        ...INPUT.config,
        apparmorProfile: 'mine',
        seccompProfile: '{}',
        ociRuntime: 'runsc',
        noNewPrivileges: false,
      },
    })
    expect(HostConfig).toMatchObject({ Runtime: 'runsc', SecurityOpt: ['apparmor=mine', 'seccomp={}'] })
  })

  test('opens /proc and the calls for namespaces to a sandbox that may make them, and to no other', () => {
    const { HostConfig } = makeContainerSpec({ ...INPUT, namespaces: { seccomp: '{"x":1}' } })
    expect(HostConfig).toMatchObject({
      MaskedPaths: [],
      ReadonlyPaths: [],
      SecurityOpt: ['no-new-privileges:true', 'seccomp={"x":1}'],
    })
  })

  test('has no IPv6, or takes nothing of it from anybody but the host', () => {
    const of = (opensIpv6: boolean) =>
      makeContainerSpec({ ...INPUT, hasIpv6: true, opensIpv6 }).HostConfig?.Sysctls
    expect(of(false)).toMatchObject({ 'net.ipv6.conf.all.disable_ipv6': '1' })
    expect(of(true)).toMatchObject({
      'net.ipv6.conf.all.disable_ipv6': '0',
      'net.ipv6.conf.default.accept_ra': '0',
      'net.ipv6.conf.default.autoconf': '0',
    })
  })

  test('names no sysctl that the kernel lacks', () => {
    const { HostConfig } = makeContainerSpec({ ...INPUT, hasIpv6: false })
    expect(Object.keys(HostConfig?.Sysctls ?? {}).filter((name) => name.includes('ipv6'))).toEqual([])
  })
})
