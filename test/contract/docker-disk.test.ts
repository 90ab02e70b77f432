// Limits of disks on Docker, with a daemon whose storage has them, and what images declare as VOLUME, which no such limit counts.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { RuntimeSpec } from '../../control/runtime/runtime.ts'
import { createSnapshotId } from '../../lib/id.ts'
import { busyboxTarball, ociLayout } from '../support/images.ts'
import { type OpenedRuntime, openTestRuntime, runIn, specOf, whyNot } from './runtimes.ts'

const soon = () => AbortSignal.timeout(30_000)
const hasFileSystem = readFileSync('/proc/filesystems', 'utf8').includes('btrfs')
const reason = whyNot('docker') ?? (hasFileSystem ? undefined : 'this kernel has no btrfs')
const LIMITED = { memoryBytes: 256 << 20, diskBytes: 64 << 20 }
const DATABASE = { uri: 'database' }

describe.skipIf(reason !== undefined)(`disks on Docker${reason ? `, not tried, as ${reason}` : ''}`, () => {
  let opened: OpenedRuntime
  let folder: string

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'contract-disk-'))
    const declaring = ['--config.volume', '/home/user', '--config.volume', '/var/data']
    const database = ociLayout(folder, 'database', busyboxTarball(folder), declaring)
    opened = await openTestRuntime('docker', { limitsDisks: true, images: { database } })
  })
  afterAll(async () => {
    await opened?.dispose()
    rmSync(folder, { recursive: true, force: true })
  })

  const docker = (...args: string[]) => opened.docker?.docker(...args) ?? ''
  const remove = (id: string) => opened.runtime.remove(id, { graceMs: 0 }, soon())
  const make = async (change: Partial<RuntimeSpec>) => {
    const spec = specOf(change)
    const sandbox = await opened.runtime.create(spec, soon())
    onTestFinished(() => remove(spec.id))
    return { spec, run: async (command: string) => await runIn(sandbox, spec, command) }
  }
  const volumesOf = (id: string) =>
    docker('volume', 'ls', '--quiet', '--filter', `label=opensandbox.io/id=${id}`)

  test('S10: a disk is as large as it was given, for root in the sandbox too, which goes on answering', async () => {
    expect(opened.runtime.abilities?.disk).toBeGreaterThan(2 ** 30)
    const { run } = await make({ image: DATABASE, limits: LIMITED, ...mountsOf(['/home/user', '/var/data']) })
    const written = await run('dd if=/dev/zero of=/root/file bs=1M count=200 2>&1; stat -c %s /root/file')
    expect(written.stdout).toContain('Disk quota exceeded')
    expect(Number(written.stdout.split('\n').at(-1))).toBeLessThanOrEqual(64 << 20)
    expect((await run('echo on; rm /root/file; echo more > /root/more; cat /root/more')).stdout).toBe(
      'on\nmore',
    )
  })

  test('a disk is not limited in appearance alone: an image whose files no limit counts is refused, and leaves nothing', async () => {
    const spec = specOf({ image: DATABASE, limits: LIMITED, ...mountsOf(['/home/user']) })
    await expect(opened.runtime.create(spec, soon())).rejects.toMatchObject({
      failure: 'unsupported',
      message: expect.stringMatching(/"\/var\/data".*VOLUME.*resourceLimits\.disk/),
    })
    expect(await opened.runtime.inspect(spec.id, soon())).toBeUndefined()
    expect(volumesOf(spec.id)).toBe('')
  })

  test('D5: without a limit, what an image declares is kept apart with what the image has there, and goes with its sandbox', async () => {
    const { spec, run } = await make({ image: DATABASE })
    expect((await run('grep -c -E " (/home/user|/var/data) " /proc/mounts')).stdout).toBe('2')
    expect((await run('echo rows > /var/data/rows; cat /var/data/rows')).stdout).toBe('rows')
    expect(volumesOf(spec.id).trim().split('\n')).toHaveLength(2)
    await remove(spec.id)
    expect(docker('volume', 'ls', '--quiet')).toBe('')
  })

  test('D5: it goes as well when the container was removed by hand, and that of a sandbox of a snapshot', async () => {
    const { snapshots } = opened.runtime
    const { spec, run } = await make({ image: DATABASE })
    await run('echo kept > /root/kept; echo apart > /var/data/apart')
    const snapshotId = createSnapshotId({ hidden: false })
    onTestFinished(() => snapshots?.remove(snapshotId, soon()))
    await snapshots?.create(spec.id, snapshotId, soon())
    const restored = await make({ snapshotId })
    expect((await restored.run('cat /root/kept; ls /var/data')).stdout).toBe('kept')
    await expect(
      opened.runtime.create(specOf({ snapshotId, limits: LIMITED }), soon()),
    ).rejects.toMatchObject({
      failure: 'unsupported',
    })
    docker('rm', '--force', `opensandbox-${opened.instance.key}-${spec.id}`)
    await remove(spec.id)
    await remove(restored.spec.id)
    expect(docker('volume', 'ls', '--quiet')).toBe('')
  })

  /** A host directory at each place. */
  function mountsOf(targets: string[]): Pick<RuntimeSpec, 'mounts'> {
    return { mounts: targets.map((target) => ({ source: folder, target, readOnly: false })) }
  }
})
