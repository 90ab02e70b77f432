// Finds the files of authorities in a root that is mounted on this machine. Links in it are read and followed as the sandbox would see
// them, within the root; the system itself would follow them out of it.

import { lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../../../lib/errors.ts'
import { BUNDLE_PATHS, type Bundle, MAX_BUNDLE_BYTES } from './trust-files.ts'

const MAX_LINKS = 40

/** Those that are there, each once. Nothing may run in the root yet that could change it meanwhile. */
export function findBundles(root: string): Bundle[] {
  const found = new Map<string, Bundle>()
  for (const path of BUNDLE_PATHS) {
    const real = realPathWithin(root, path)
    if (real === undefined || found.has(real)) continue
    const stat = lstatSync(join(root, real))
    if (!stat.isFile() || stat.size > MAX_BUNDLE_BYTES) continue
    found.set(real, { path: real, text: readFileSync(join(root, real), 'utf8') })
  }
  return [...found.values()]
}

/** Where a path of the root leads, as a path of the root; undefined when it leads nowhere. */
export function realPathWithin(root: string, path: string): string | undefined {
  const names = namesOf(path)
  const walked: string[] = []
  let links = 0
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === '..') {
      walked.pop()
      continue
    }
    const at = join(root, ...walked, name)
    try {
      if (lstatSync(at).isSymbolicLink()) {
        if (++links > MAX_LINKS) return undefined
        const target = readlinkSync(at)
        if (target.startsWith('/')) walked.length = 0
        names.unshift(...namesOf(target))
        continue
      }
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes(systemCodeOf(error) ?? '')) return undefined
      throw error
    }
    walked.push(name)
  }
  return `/${walked.join('/')}`
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}
