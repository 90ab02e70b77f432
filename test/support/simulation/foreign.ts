import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { readCgroupLayout } from '../../../control/runtime/local/cgroup.ts'
import { outputOf, runMaybe } from './programs.ts'

/** Things on the machine that are somebody else's; returns what tells whether they are as they were. */
export function placeForeign(): () => unknown {
  const name = `osbx${process.pid}`.slice(0, 14)
  const mount = mkdtempSync(join(tmpdir(), 'foreign-'))
  const hierarchy = readCgroupLayout().version === 2 ? '' : 'memory'
  const cgroup = join('/sys/fs/cgroup', hierarchy, `opensandbox-foreign-${process.pid}`)
  onTestFinished(() => {
    runMaybe('ip', ['link', 'del', name])
    runMaybe('ip', ['netns', 'del', name])
    runMaybe('nft', ['delete', 'table', 'inet', `opensandbox_${name}`])
    runMaybe('umount', ['-l', mount])
    rmSync(mount, { recursive: true, force: true })
    if (existsSync(cgroup)) rmdirSync(cgroup)
  })
  outputOf('ip', ['link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}p`])
  outputOf('ip', ['netns', 'add', name])
  outputOf('nft', ['add', 'table', 'inet', `opensandbox_${name}`])
  outputOf('mount', ['-t', 'tmpfs', 'tmpfs', mount])
  mkdirSync(cgroup)
  writeFileSync(join(mount, 'file'), 'theirs')
  return () => ({
    link: outputOf('ip', ['-o', 'link']).includes(`${name}@`),
    netns: outputOf('ip', ['netns']).includes(name),
    table: outputOf('nft', ['list', 'tables']).includes(`opensandbox_${name}`),
    file: readFileSync(join(mount, 'file'), 'utf8'),
    cgroup: existsSync(cgroup),
  })
}
