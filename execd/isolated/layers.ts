// The directories in which a session keeps what it writes to its overlays (contract: execd.md 8.4). They lie below the upper root,
// which no session sees, one directory for each session.

import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readProcess } from '../command/process-table.ts'
import type { PlannedMount } from './mounts.ts'

/** The layers of the overlay of one mount. */
export type Layers = { lower: string; upper: string; work: string; merged: string }

/** Where the layers of the mount with this index lie, in the directory of its session. */
export function layersOf(sessionDir: string, index: number): Layers {
  // The first one lies where the contract has it; nothing outside of this directory depends on the names.
  const at = (name: string) => join(sessionDir, index === 0 ? name : `${name}.${index}`)
  return { lower: at('lower'), upper: at('upper'), work: at('work'), merged: at('merged') }
}

/** Makes the directories of a session. */
export function makeLayers(sessionDir: string, mounts: PlannedMount[]): void {
  mkdirSync(sessionDir, { mode: 0o700 })
  // Whoever finds this later knows whether the one who made it still runs.
  writeFileSync(join(sessionDir, OWNER), `${process.pid} ${readProcess(process.pid)?.startTime ?? 0}`)
  for (const [index, mount] of mounts.entries())
    if (mount.mode === 'overlay') makeOverlay(layersOf(sessionDir, index), mount.path)
}

/** Empty layers for an overlay of `source`. */
function makeOverlay(layers: Layers, source: string): void {
  for (const dir of Object.values(layers)) mkdirSync(dir, { mode: 0o755 })
  // A joined directory has the owner and the mode of its upper layer.
  const stat = statSync(source)
  chownSync(layers.upper, stat.uid, stat.gid)
  chmodSync(layers.upper, stat.mode & 0o7777)
}

/** Makes the layers of all overlays empty again. Nothing may have them mounted. */
export async function emptyLayers(sessionDir: string, mounts: PlannedMount[]): Promise<void> {
  for (const [index, mount] of mounts.entries()) {
    if (mount.mode !== 'overlay' || !mount.persist) continue
    const layers = layersOf(sessionDir, index)
    for (const dir of Object.values(layers)) await rm(dir, { recursive: true, force: true })
    makeOverlay(layers, mount.path)
  }
}

const OWNER = 'owner'

/** Removes what sessions of an execd that has ended left behind; several may share one upper root. */
export function removeAbandoned(upperRoot: string): void {
  for (const name of readdirSync(upperRoot)) {
    const dir = join(upperRoot, name)
    let owner: string
    try {
      owner = readFileSync(join(dir, OWNER), 'latin1')
    } catch {
      // Not made by us, or not made yet.
      continue
    }
    const [pid, startTime] = owner.split(' ').map(Number)
    if (readProcess(pid ?? 0)?.startTime !== startTime) rmSync(dir, { recursive: true, force: true })
  }
}
