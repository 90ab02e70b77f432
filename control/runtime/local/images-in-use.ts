// Which images the sandboxes that there are lie upon.

import { readFileSync } from 'node:fs'
import { listSandboxIds, pathsOf, readRecord } from '../sandbox-record.ts'

/** The ids of their images, one for each sandbox. */
export async function imagesInUse(where: { dataDir: string; runDir: string }): Promise<string[]> {
  const mounted = imagesByMountPoint(readFileSync('/proc/self/mountinfo', 'utf8'))
  const ids = await listSandboxIds(where.dataDir)
  return ids.flatMap((id) => {
    const { record, root } = pathsOf(id, where)
    // What an earlier version has made does not say it itself.
    return readRecord(record)?.image ?? mounted.get(root) ?? []
  })
}

/** The images below each overlay, by where it is mounted. */
export function imagesByMountPoint(mountinfo: string): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const line of mountinfo.split('\n')) {
    const [, mountPoint, lower] = /^(?:\S+ ){4}(\S+) .* - overlay .*lowerdir=([^, ]+)/.exec(line) ?? []
    if (mountPoint === undefined || lower === undefined) continue
    const ids = [...lower.matchAll(/\/images\/([0-9a-f]{32})\/rootfs/g)].map(([, id = '']) => id)
    if (ids.length > 0) found.set(mountPoint, ids)
  }
  return found
}
