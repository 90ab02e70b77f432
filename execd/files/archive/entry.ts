// What may be unpacked: names and links that stay below the directory, and things that have a content. Pure.

import { ArchiveError } from './archive.ts'

const MAX_DEPTH = 256
const MAX_NAME_BYTES = 4096

/** The names of which a path in an archive consists; none at all for the directory itself. */
export function splitEntryName(name: string): string[] {
  if (name === '' || name.includes('\0')) throw new ArchiveError('it has an entry without a name')
  if (name.length > MAX_NAME_BYTES)
    throw new ArchiveError(`it has a name longer than ${MAX_NAME_BYTES} bytes`)
  const shown = name.toWellFormed()
  if (name.startsWith('/')) throw new ArchiveError(`"${shown}" is an absolute path`)
  const path = name.split('/').filter((part) => part !== '' && part !== '.')
  if (path.includes('..')) throw new ArchiveError(`"${shown}" leads out of the directory`)
  if (path.length > MAX_DEPTH) throw new ArchiveError(`"${shown}" has more than ${MAX_DEPTH} directories`)
  return path
}

/**
 * Whether a symbolic link at `path` may lead out of the tree. Only `..` at its beginning can be judged: behind a name, which may be
 * a link itself, it means something else.
 */
export function leadsOut(path: string[], target: string): boolean {
  if (target.startsWith('/')) return true
  const parts = target.split('/').filter((part) => part !== '' && part !== '.')
  const firstName = parts.findIndex((part) => part !== '..')
  const ups = firstName < 0 ? parts.length : firstName
  return ups > path.length - 1 || parts.includes('..', ups)
}
