// What a runtime on this machine remembers of a sandbox on disk: `sandboxes/{id}/record.json`. It is written before anything is made
// and again when the sandbox runs, so that after a crash everything of it can be found, told apart, and removed.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import type { Image } from '../image/image.ts'

/** A process as the host sees it, named so that no later one is taken for it. */
export type NamedProcess = { pid: number; startTime: string }

export type SandboxRecord = {
  id: string
  address: string
  /** The host's end of the veth pair. */
  interface: string
  /** The image that it lies upon, by what the store of images finds it. */
  image?: string
  /** The same with all that it says, for the local runtime's snapshots. */
  base?: Image
  /** The layers of snapshots between it and the sandbox's own, from the top. */
  layers?: string[]
  /** Once there is one. */
  init?: NamedProcess
  /** Set once everything of the create is done; without it, the sandbox is incomplete. */
  complete: boolean
}

export type SandboxPaths = {
  folder: string
  record: string
  exchange: string
  /** What it is told to trust, where its requests are read. */
  trust: string
  /** The root as the sandbox sees it, mounted. */
  root: string
  /** What is mounted in it, each in a place of its own. */
  mounts: string
}

/** Where everything of a sandbox lies. */
export function pathsOf(id: string, { dataDir, runDir }: { dataDir: string; runDir: string }): SandboxPaths {
  const folder = join(dataDir, 'sandboxes', id)
  return {
    folder,
    record: join(folder, 'record.json'),
    exchange: join(folder, 'exchange'),
    trust: join(folder, 'trust'),
    root: join(runDir, 'roots', id),
    mounts: join(runDir, 'mounts', id),
  }
}

/** The host's end of a sandbox's veth pair: the installation's prefix and 8 characters of the id's hash. */
export function interfaceOf(id: string, prefix: string): string {
  return (
    prefix +
    createHash('sha256')
      .update(id)
      .digest('hex')
      .slice(0, 15 - prefix.length)
  )
}

/** Writes the record beside and renames it, so that a reader sees the old one or the new one. */
export async function writeRecord(path: string, record: SandboxRecord): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 })
  await rename(`${path}.new`, path)
}

/** The record of a sandbox; undefined when there is none, or a crash left half of its directory. */
export function readRecord(path: string): SandboxRecord | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as SandboxRecord
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

/** The ids of all sandboxes that have a directory. */
export async function listSandboxIds(dataDir: string): Promise<string[]> {
  return await readdir(join(dataDir, 'sandboxes'))
}

/** When a process was started, in the kernel's ticks: with its id it names one process for ever. Undefined when it is gone. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold anything; the fields after it are counted from its end.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return undefined // no such process
  }
}

/** Whether the first process of a sandbox still runs. */
export function isRunning({ init }: SandboxRecord): boolean {
  return init !== undefined && startTimeOf(init.pid) === init.startTime
}
