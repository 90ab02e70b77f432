// Named volumes as directories of the data directory: `volumes/{key}`. The data directory is closed to everybody; a volume belongs
// to the root of sandboxes, which is nobody on this machine.

import { chmod, lchown, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCodeOf } from '../../../lib/errors.ts'
import type { RunProgram } from '../../../lib/run-program.ts'
import { removeTree } from '../../remove-tree.ts'
import { directorySize } from '../directory-size.ts'
import type { Owner } from '../held-path.ts'
import { RuntimeError } from '../runtime.ts'
import type { Volumes } from '../volumes.ts'

export type LocalVolumesOptions = { dataDir: string; owner: Owner; run: RunProgram }

/** Where the files of a volume lie. */
export function volumePathOf(dataDir: string, key: string): string {
  return join(dataDir, 'volumes', key)
}

export function createLocalVolumes({ dataDir, owner, run }: LocalVolumesOptions): Volumes {
  const pathOf = (key: string) => volumePathOf(dataDir, key)
  return {
    async create(key) {
      const path = pathOf(key)
      try {
        await mkdir(join(dataDir, 'volumes'), { recursive: true, mode: 0o700 })
        // Nobody sees it before it is done: what an earlier create has begun is gone over once more.
        await mkdir(path, { recursive: true })
        await chmod(path, 0o755)
        await lchown(path, owner.uid, owner.gid)
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOSPC') throw error
        throw new RuntimeError('no_space', 'There is no space left for a volume', { cause: error })
      }
    },
    remove: (key, signal) => removeTree(pathOf(key), signal, run),
    async list() {
      return await readdir(join(dataDir, 'volumes')).catch((error) => {
        if (systemCodeOf(error) === 'ENOENT') return [] // none was ever made
        throw error
      })
    },
    sizeOf: (key, signal) => directorySize(pathOf(key), run, signal),
  }
}
