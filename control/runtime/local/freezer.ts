// Sandboxes that stand still, and go on: by the kernel's freezer, without a program that would take ten times as long.

import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { RuntimeError } from '../runtime.ts'
import { type CgroupLayout, freezerOf, isFrozen, memoryFilesOf } from './cgroup.ts'

/** A process that waits for a disk that does not answer cannot be frozen. */
const FREEZE_TIMEOUT_MS = 5000
const LOOK_EVERY_MS = 1

/** Resolves once nothing in the sandbox runs. When it rejects, it may be frozen in part: let it go on. */
export async function freeze(cgroup: string, layout: CgroupLayout, signal: AbortSignal): Promise<void> {
  const { path, freeze } = freezerOf(cgroup, layout)
  await writeFile(path, freeze)
  const deadline = performance.now() + FREEZE_TIMEOUT_MS
  while (!isFrozen(cgroup, layout, { isDone: true })) {
    if (performance.now() > deadline)
      throw new RuntimeError('start_failed', 'The sandbox could not be made to stand still')
    await delay(LOOK_EVERY_MS, undefined, { signal })
  }
}

/** Lets it go on; fine when it has ended, and its cgroup is gone. */
export async function thaw(cgroup: string, layout: CgroupLayout): Promise<void> {
  const { path, thaw } = freezerOf(cgroup, layout)
  try {
    await writeFile(path, thaw)
  } catch (error) {
    if (existsSync(path)) throw error
  }
}

/**
 * Gives back the memory of a frozen sandbox in which there is nothing but what its files have, too. Resolves to the bytes that it
 * keeps; undefined where the kernel does not say.
 */
export async function reclaimMemory(cgroup: string, layout: CgroupLayout): Promise<number | undefined> {
  const { usage, reclaim } = memoryFilesOf(cgroup, layout)
  const used = await readBytes(usage)
  if (used === undefined) return undefined
  // The kernel says that it could not give back all, which is so, and early ones cannot be asked.
  await writeFile(reclaim, layout.version === 2 ? String(used) : '0', { flag: 'r+' }).catch(() => {})
  return await readBytes(usage)
}

async function readBytes(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return /^\d+\n$/.test(text) ? Number(text) : undefined
}
