// Sandboxes that stand still for a moment, so that their files can be read as they are at one time. Nobody is told: for everybody
// else they run. Pausing, resuming and removing wait until the moment is over. A mark in the sandbox's directory says that it is
// ours to let go on, should this process die in between.

import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Exclusive } from '../exclusive.ts'
import { RuntimeError } from '../runtime.ts'
import { type CgroupLayout, isFrozen, processesIn } from './cgroup.ts'
import { freeze, thaw } from './freezer.ts'

const MARK = 'held'

export type Held = { id: string; folder: string; cgroup: string }

export class Holds {
  readonly #cgroups: CgroupLayout
  readonly #exclusive = new Exclusive()
  readonly #held = new Set<string>()

  constructor(cgroups: CgroupLayout) {
    this.#cgroups = cgroups
  }

  /** Whether a sandbox that is frozen is so for a moment only. */
  isHeld(id: string): boolean {
    return this.#held.has(id)
  }

  /** Does something with a sandbox that must not happen while it is held, nor while another such thing happens. */
  async apart<T>(id: string, work: () => Promise<T>): Promise<T> {
    return await this.#exclusive.run(id, work)
  }

  /** Does `work` while nothing in the sandbox runs. Rejects with `not_running` when it is paused. */
  async during<T>(held: Held, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return await this.apart(held.id, async () => {
      if (isFrozen(held.cgroup, this.#cgroups))
        throw new RuntimeError('not_running', 'The sandbox was paused before its files could be read')
      await writeFile(join(held.folder, MARK), '')
      this.#held.add(held.id)
      try {
        await freeze(held.cgroup, this.#cgroups, signal)
        return await work()
      } finally {
        await this.#release(held)
      }
    })
  }

  /** Lets go on what a process has held that is gone. */
  async recover(held: Held): Promise<void> {
    if (existsSync(join(held.folder, MARK))) await this.#release(held)
  }

  async #release({ id, folder, cgroup }: Held): Promise<void> {
    try {
      await thaw(cgroup, this.#cgroups)
    } finally {
      this.#held.delete(id)
      await rm(join(folder, MARK), { force: true })
    }
  }
}

/**
 * The files to which the processes of a sandbox write through memory, as paths of the sandbox without the slash at the beginning: of such
 * writes the kernel tells by a file's times when it pleases.
 */
export async function mappedFiles(cgroup: string, layout: CgroupLayout): Promise<string[]> {
  const found = new Set<string>()
  for (const pid of processesIn(cgroup, layout)) {
    // One that has ended has no memory.
    const maps = await readFile(`/proc/${pid}/maps`, 'latin1').catch(() => '')
    for (const path of writtenThroughMemory(maps)) found.add(path)
  }
  return [...found]
}

/** Those of one process (proc(5), /proc/pid/maps). Each byte of a path is a character. */
export function writtenThroughMemory(maps: string): string[] {
  return maps.split('\n').flatMap((line) => {
    const path = /^[0-9a-f]+-[0-9a-f]+ .w.s [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [1-9]\d* +\/(.*)$/.exec(line)?.[1]
    return path === undefined ? [] : [path.replaceAll('\\012', '\n')]
  })
}
