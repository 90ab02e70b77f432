// What a Docker daemon can limit and give, by what it says of itself.

import { describe, expect, test } from 'vitest'
import { decideDisk, decideGpus } from '../../../control/runtime/docker/abilities.ts'
import { makeContainerSpec } from '../../../control/runtime/docker/container-spec.ts'
import type { RuntimeSpec } from '../../../control/runtime/runtime.ts'
import { loadConfig } from '../../../lib/config.ts'

const MOUNTS = [
  '20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw',
  '30 20 8:2 / /data rw,relatime - xfs /dev/sdb1 rw,attr2,inode64,noquota',
  '31 20 8:3 / /quota rw,relatime - xfs /dev/sdc1 rw,attr2,prjquota',
  '32 31 8:4 / /quota/inner rw - xfs /dev/sdd1 rw,noquota',
  '33 31 8:4 / /quotas rw - xfs /dev/sdd1 rw,noquota',
].join('\n')
const XFS: [string, string][] = [['Backing Filesystem', 'xfs']]

test.each([
  [{ Driver: 'btrfs' }, 'any size'],
  [{ Driver: 'zfs' }, 'any size'],
  [{ Driver: 'overlay2', DriverStatus: XFS, DockerRootDir: '/quota/docker' }, 'any size'],
  [{ Driver: 'overlay2', DriverStatus: XFS, DockerRootDir: '/quota' }, 'any size'],
  [{ Driver: 'overlay2', DriverStatus: XFS, DockerRootDir: '/data/docker' }, 'pquota'],
  [{ Driver: 'overlay2', DriverStatus: XFS, DockerRootDir: '/quota/inner/docker' }, 'pquota'],
  [{ Driver: 'overlay2', DriverStatus: XFS, DockerRootDir: '/quotas' }, 'pquota'],
  [
    { Driver: 'overlay2', DriverStatus: [['Backing Filesystem', 'extfs']] as [string, string][] },
    'lies on "extfs"',
  ],
  [{ Driver: 'overlay2' }, 'lies on "unknown"'],
  [{ Driver: 'vfs' }, '"vfs", limits no container'],
  [{ Driver: 'overlayfs' }, '"overlayfs", limits no container'],
  [{}, '"unknown"'],
])('S10: a disk on %j: %s', (info, wanted) => {
  const decided = decideDisk(info, MOUNTS)
  if (wanted === 'any size') expect(decided).toBeGreaterThan(2 ** 50)
  else expect(decided).toContain(wanted)
})

test.each([
  [{ Runtimes: { runc: {}, nvidia: {} } }, true],
  [{ DiscoveredDevices: [{ ID: 'nvidia.com/gpu=0' }] }, true],
  [{ DiscoveredDevices: [{ ID: 'vendor.com/net=eth0' }] }, false],
  [{ Runtimes: { runc: {} } }, false],
  [{}, false],
])('GPUs of %j', (info, wanted) => {
  expect(decideGpus(info) === 'any').toBe(wanted)
})

describe('makeContainerSpec()', () => {
  const specFor = (
    limits: RuntimeSpec['limits'],
    mounts: Parameters<typeof makeContainerSpec>[0]['mounts'] = [],
  ) => {
    const { config } = loadConfig({ env: { SANDBOX_CONFIG_PATH: '/c.toml' }, args: [], readFile: () => '' })
    return makeContainerSpec({
      name: 'n',
      labels: {},
      image: 'sha256:1',
      imageEnv: {},
      spec: { id: 'a', limits },
      mounts,
      address: '10.88.0.2',
      gateway: '10.88.0.1',
      command: ['/x'],
      guestDir: '/guest',
      exchangeDir: '/exchange',
      hostDirs: [],
      config: config.docker,
      openFiles: 1024,
      hasIpv6: false,
    }).HostConfig
  }

  test('S10: swap is no more than memory, a disk has its size, and what is not asked for is not given', () => {
    expect(specFor({ memoryBytes: 64, diskBytes: 2 ** 30, gpus: -1 })).toMatchObject({
      Memory: 64,
      MemorySwap: 64,
      StorageOpt: { size: '1073741824' },
      DeviceRequests: [{ Count: -1, Capabilities: [['gpu']] }],
    })
    const bare = specFor({})
    for (const name of ['Memory', 'MemorySwap', 'StorageOpt', 'DeviceRequests'])
      expect(bare).not.toHaveProperty(name)
  })

  test('a whole volume is for the daemon to mount, without what the image has there', () => {
    const mounts = [
      { source: '/run/place/0', target: '/a', readOnly: true },
      { source: 'volume-1', isVolume: true, target: '/a/b', readOnly: false },
    ]
    expect(specFor({}, mounts)?.Mounts?.slice(0, 2)).toMatchObject([
      { Type: 'bind', Source: '/run/place/0', Target: '/a', ReadOnly: true },
      {
        Type: 'volume',
        Source: 'volume-1',
        Target: '/a/b',
        ReadOnly: false,
        VolumeOptions: { NoCopy: true },
      },
    ])
  })
})
