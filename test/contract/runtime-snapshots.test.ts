// Snapshots on every runtime that takes them: what is in one, what is not, what a sandbox made from it sees, and what is left when
// something goes wrong in the middle.
//
// Exceptions: Docker's layers have no holes, as they are tar archives; what is about layers in the data directory is tried on the local
// runtime alone, as Docker's lie in the daemon.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { RuntimeSpec } from '../../control/runtime/runtime.ts'
import type { Snapshots } from '../../control/runtime/snapshots.ts'
import { createSnapshotId } from '../../lib/id.ts'
import { type OpenedRuntime, openTestRuntime, RUNTIME_NAMES, runIn, specOf, whyNot } from './runtimes.ts'

const soon = () => AbortSignal.timeout(60_000)

describe.each(RUNTIME_NAMES)('snapshots of the %s runtime', (name) => {
  const why = whyNot(name)
  if (why) {
    test.skip(`is not tried here: ${why}`, () => {})
    return
  }
  let opened: OpenedRuntime
  let snapshots: Snapshots
  beforeAll(async () => {
    opened = await openTestRuntime(name)
    const found = opened.runtime.snapshots
    if (!found) throw new Error('It takes no snapshots')
    snapshots = found
  })
  afterAll(() => opened?.dispose())

  type Made = { spec: RuntimeSpec; run: (command: string) => Promise<string> }
  const make = async (change: Partial<RuntimeSpec> = {}): Promise<Made> => {
    const spec = specOf(change)
    const sandbox = await opened.runtime.create(spec, soon())
    // It may have been opened anew by then.
    onTestFinished(() => opened.runtime.remove(spec.id, { graceMs: 0 }, soon()))
    const run = async (command: string) => {
      const { stdout, exitCode } = await runIn(sandbox, spec, command)
      if (exitCode !== 0) throw new Error(`"${command}" ended with ${exitCode}: ${stdout}`)
      return stdout.trim()
    }
    return { spec, run }
  }
  const take = async (sandboxId: string): Promise<string> => {
    const id = createSnapshotId({ hidden: false })
    const taken = await snapshots.create(sandboxId, id, soon())
    expect(taken).toMatchObject({ id, sizeBytes: expect.any(Number) })
    onTestFinished(() => snapshots.remove(id, soon()))
    return id
  }

  test('S4: has the files of its sandbox, and neither its variables nor what it was told', async () => {
    const secret = 's3cr3t-of-the-source'
    const source = await make({ env: { SECRET: secret } })
    expect(await source.run('echo $SECRET')).toBe(secret)
    await source.run('mkdir /workspace/d; echo kept > /workspace/d/f; ln -s f /workspace/d/l; rm /etc/shells')
    await source.run(
      'cd /workspace && ln d/f d/hard && mkfifo p && truncate -s 8M sparse && chown -R 1000:1000 d && chmod 4750 d/f',
    )
    const id = await take(source.spec.id)
    const copy = await make({ snapshotId: id, env: { OWN: 'o' } })
    expect(await copy.run('cat /workspace/d/f /workspace/d/l')).toBe('kept\nkept')
    expect(await copy.run('stat -c "%a %u:%g %F" /workspace/d/f /workspace/p')).toBe(
      '4750 1000:1000 regular file\n644 0:0 fifo',
    )
    expect(await copy.run('[ /workspace/d/f -ef /workspace/d/hard ] && echo one')).toBe('one')
    expect(await copy.run('ls /etc/shells 2>/dev/null || echo gone')).toBe('gone')
    // A layer of Docker's is a tar archive, which has no holes.
    const holes = name === 'local' ? '0' : expect.stringMatching(/^8\d{3}$/)
    expect(await copy.run('du -k /workspace/sparse | cut -f1')).toEqual(holes)
    expect(
      await copy.run('env; cat /proc/1/environ | tr "\\0" "\\n"; grep -r "" /run 2>/dev/null || true'),
    ).not.toContain(secret)
    expect(await copy.run('echo $OWN')).toBe('o')
    // What it is called and where it asks for names is its own.
    expect(await copy.run('cat /etc/hosts')).not.toContain(source.spec.id)
    expect(await copy.run('cat /etc/resolv.conf')).toBe(await source.run('cat /etc/resolv.conf'))
    if (opened.docker) {
      const args = ['--host', opened.docker.host, 'image', 'inspect', `opensandbox-snapshots:${id}`]
      const [image] = JSON.parse(execFileSync('docker', args, { encoding: 'utf8' })) as { Config: object }[]
      for (const told of [secret, source.spec.id, source.spec.execdToken])
        expect(JSON.stringify(image?.Config)).not.toContain(told)
    }
    // Two that write, and do not see each other.
    await copy.run('echo other > /workspace/d/f')
    expect(await source.run('cat /workspace/d/f')).toBe('kept')
    expect(await (await make({ snapshotId: id })).run('cat /workspace/d/f')).toBe('kept')
  })

  test('L5: its sandbox runs on, is shown as running, and is consistent while it writes', async () => {
    const source = await make()
    // Two files that always say the same, but for the moment between their two writes.
    await source.run(
      `cat > /workspace/w.py <<'E'
import os
n = 0
while True:
    n += 1
    for name in ('a', 'b'):
        with open('/workspace/' + name + '.new', 'w') as f: f.write(str(n))
        os.rename('/workspace/' + name + '.new', '/workspace/' + name)
E
nohup python3 /workspace/w.py >/dev/null 2>&1 & sleep 0.3`,
    )
    const states: unknown[] = []
    let isOver = false
    const watching = (async () => {
      while (!isOver) {
        states.push((await opened.runtime.inspect(source.spec.id, soon()))?.state)
        // The others have their turn.
        await delay(1)
      }
    })()
    const id = await take(source.spec.id)
    isOver = true
    await watching
    expect(new Set(states)).toEqual(new Set(['running']))
    expect(await source.run('echo alive')).toBe('alive')
    const copy = await make({ snapshotId: id })
    const [a, b] = (await copy.run('echo $(cat /workspace/a) $(cat /workspace/b)')).split(' ').map(Number)
    expect(Number(a) - Number(b)).toBeGreaterThanOrEqual(0)
    expect(Number(a) - Number(b)).toBeLessThanOrEqual(1)
  })

  test('what was removed and put in its place is so in the next one, over several', async () => {
    const first = await make()
    await first.run('mkdir -p /workspace/d/e && echo 1 > /workspace/d/e/f && echo 1 > /workspace/g')
    const one = await take(first.spec.id)
    const second = await make({ snapshotId: one })
    await second.run('rm -r /workspace/d /workspace/g && mkdir /workspace/d && echo 2 > /workspace/d/h')
    const two = await take(second.spec.id)
    const third = await make({ snapshotId: two })
    expect(await third.run('cd /workspace && find . | sort | tr "\\n" " "')).toBe('. ./d ./d/h')
    await third.run('echo 3 > /workspace/d/h')
    const three = await take(third.spec.id)
    // What the third lies upon is still needed, whoever forgets the ones before.
    for (const { spec } of [first, second, third])
      await opened.runtime.remove(spec.id, { graceMs: 0 }, soon())
    await snapshots.remove(two, soon())
    await snapshots.remove(one, soon())
    const last = await make({ snapshotId: three })
    expect(await last.run('cat /workspace/d/*')).toBe('3')
  })

  test('is listed once it is whole, over a restart too, and gone when it is removed', async () => {
    const source = await make()
    await source.run('echo x > /workspace/x')
    const id = await take(source.spec.id)
    const { digest } = await snapshots.seal(id, soon())
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/)
    await opened.reopen()
    snapshots = opened.runtime.snapshots ?? snapshots
    expect(await snapshots.list(soon())).toContainEqual(expect.objectContaining({ id, digest }))
    const copy = await make({ snapshotId: id })
    expect(await copy.run('cat /workspace/x')).toBe('x')
    await opened.runtime.remove(copy.spec.id, { graceMs: 0 }, soon())
    await snapshots.remove(id, soon())
    await snapshots.remove(id, soon())
    expect((await snapshots.list(soon())).map((each) => each.id)).not.toContain(id)
    await expect(opened.runtime.create(specOf({ snapshotId: id }), soon())).rejects.toThrow()
  })

  test('two at once of one sandbox are two', async () => {
    const source = await make()
    await source.run('echo x > /workspace/x')
    const [one, two] = await Promise.all([take(source.spec.id), take(source.spec.id)])
    for (const id of [one, two])
      expect(await (await make({ snapshotId: id })).run('cat /workspace/x')).toBe('x')
  })

  test('of a sandbox that is not there or is paused there is none, and nothing is left', async () => {
    const before = (await snapshots.list(soon())).length
    await expect(snapshots.create('nobody', createSnapshotId({ hidden: false }), soon())).rejects.toThrow()
    const source = await make()
    await opened.runtime.pause(source.spec.id, soon())
    await expect(
      snapshots.create(source.spec.id, createSnapshotId({ hidden: false }), soon()),
    ).rejects.toMatchObject({ failure: 'not_running' })
    await opened.runtime.resume(source.spec.id, soon())
    expect(await source.run('echo alive')).toBe('alive')
    expect(await snapshots.list(soon())).toHaveLength(before)
  })

  test('of a sandbox that is removed meanwhile is whole or not there', async () => {
    const source = await make()
    await source.run(
      'for i in $(seq 40); do mkdir /workspace/$i; for j in $(seq 50); do echo $j > /workspace/$i/$j; done; done',
    )
    const id = createSnapshotId({ hidden: false })
    const taking = snapshots.create(source.spec.id, id, soon()).then(
      () => true,
      () => false,
    )
    await opened.runtime.remove(source.spec.id, { graceMs: 0 }, soon())
    const isTaken = await taking
    expect((await snapshots.list(soon())).some((each) => each.id === id)).toBe(isTaken)
    if (isTaken) {
      expect(await (await make({ snapshotId: id })).run('ls /workspace/40 | wc -l')).toBe('50')
      await snapshots.remove(id, soon())
    }
    expect(await opened.runtime.inspect(source.spec.id, soon())).toBeUndefined()
  })

  if (name === 'local')
    describe('by layers', () => {
      const layers = () => readdirSync(join(opened.dataDir, 'layers'))

      test('a full disk is told as such, leaves nothing, and its sandbox as it was', async () => {
        const source = await make()
        await source.run('head -c 4M /dev/urandom > /workspace/large')
        const folder = join(opened.dataDir, 'layers')
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder])
        try {
          const taking = snapshots.create(source.spec.id, createSnapshotId({ hidden: false }), soon())
          await expect(taking).rejects.toMatchObject({ failure: 'no_space' })
          expect(layers()).toEqual([])
        } finally {
          execFileSync('umount', [folder])
        }
        expect(await source.run('stat -c %s /workspace/large')).toBe(String(4 << 20))
        await take(source.spec.id)
      })

      test('what would lie upon more layers than can be mounted becomes one layer, which needs no other', async () => {
        const first = await make()
        await first.run('mkdir /workspace/d && echo 1 > /workspace/d/f && echo 1 > /workspace/gone')
        const one = await take(first.spec.id)
        const second = await make({ snapshotId: one })
        await second.run('rm /workspace/gone && echo 2 > /workspace/g')
        // As one that lies upon many: between it and the first there are layers in which nothing is.
        const path = join(opened.dataDir, 'sandboxes', second.spec.id, 'record.json')
        const record = JSON.parse(readFileSync(path, 'utf8')) as { layers: string[] }
        const empty = Array.from({ length: 31 }, () => createSnapshotId({ hidden: true }))
        for (const id of empty) mkdirSync(join(opened.dataDir, 'layers', id, 'root'), { recursive: true })
        writeFileSync(path, JSON.stringify({ ...record, layers: [...empty, ...record.layers] }))
        const id = createSnapshotId({ hidden: false })
        expect(await snapshots.create(second.spec.id, id, soon())).toMatchObject({ id, isWhole: true })
        expect(await snapshots.list(soon())).toContainEqual(expect.objectContaining({ id, isWhole: true }))
        for (const { spec } of [first, second]) await opened.runtime.remove(spec.id, { graceMs: 0 }, soon())
        await snapshots.remove(one, soon())
        expect(layers()).not.toContain(one)
        const copy = await make({ snapshotId: id })
        expect(await copy.run('cd /workspace && find . | sort | tr "\\n" " " && cat d/f g')).toBe(
          '. ./d ./d/f ./g 1\n2',
        )
      })

      test('a layer goes with the last that needs it', async () => {
        const before = layers()
        const source = await make()
        await source.run('echo x > /workspace/x')
        const id = await take(source.spec.id)
        expect(layers()).toContain(id)
        const copy = await make({ snapshotId: id })
        await snapshots.remove(id, soon())
        expect(layers()).toContain(id)
        expect(await copy.run('cat /workspace/x')).toBe('x')
        await opened.runtime.remove(copy.spec.id, { graceMs: 0 }, soon())
        expect(layers().sort()).toEqual(before.sort())
      })

      test('what a process that was killed had begun is cleared, and its sandbox goes on', async () => {
        const source = await make()
        const id = createSnapshotId({ hidden: false })
        execFileSync('mkdir', ['-p', join(opened.dataDir, 'layers', id, 'root/half')])
        // It died while the sandbox stood still.
        const folder = join(opened.dataDir, 'sandboxes', source.spec.id)
        execFileSync('touch', [join(folder, 'held')])
        const cgroup = `opensandbox-${opened.instance.key}/${source.spec.id}`
        const v2 = existsSync('/sys/fs/cgroup/cgroup.controllers')
        const [file, value] = v2
          ? [`/sys/fs/cgroup/${cgroup}/cgroup.freeze`, '1']
          : [`/sys/fs/cgroup/freezer/${cgroup}/freezer.state`, 'FROZEN']
        execFileSync('sh', ['-c', `echo ${value} > ${file}`])
        await opened.reopen()
        snapshots = opened.runtime.snapshots ?? snapshots
        expect(await source.run('echo alive')).toBe('alive')
        expect(existsSync(join(folder, 'held'))).toBe(false)
        expect(layers()).not.toContain(id)
      })

      test('a sandbox that swaps a directory for a link to the host while it is read gives away nothing of it', async () => {
        const source = await make()
        await source.run(
          'cd /workspace && mkdir d && for i in $(seq 300); do echo $i > d/$i; done && ln -s /etc l && cat > s.py <<E\nimport os\nwhile True:\n  os.rename("d","t"); os.rename("l","d"); os.rename("d","l"); os.rename("t","d")\nE\nnohup python3 s.py >/dev/null 2>&1 & sleep 0.2',
        )
        const id = await take(source.spec.id)
        const listing = execFileSync('find', [join(opened.dataDir, 'layers', id, 'root/workspace')], {
          encoding: 'utf8',
        })
        expect(listing).not.toContain('passwd')
        expect(listing).not.toContain('shadow')
        expect(readFileSync('/etc/passwd', 'utf8')).toContain('root')
      })
    })
})
