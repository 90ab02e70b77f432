// Which paths the file routes of a session reach: what lies in its mounts, links followed (contract: execd.md 8.4). The process
// that asks has the session's own view of files, so that a link can lead no further than the session's shell could go itself;
// this decides what of that is the session's workspace.

import { readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import { decodeName, nativePath } from '../files/name.ts'
import { execdError } from '../http/answer.ts'
import { isWithin } from './mounts.ts'

const MAX_LINKS = 40

export type FileRoot = {
  path: string
  isWritable: boolean
  /** Why nothing may be written, for the client. */
  reason?: string
}

export type ConfineOptions = {
  roots: FileRoot[]
  isWriting: boolean
  /** Whether what is done with a link is done with what it leads to. */
  followsLast: boolean
}

/** Refuses an absolute path that leads out of the roots, or to a place where nothing may be written. */
export function confine(path: string, { roots, isWriting, followsLast }: ConfineOptions): void {
  const real = followsLast
    ? realPlace(path)
    : path === '/'
      ? '/'
      : join(realPlace(dirname(path)), basename(path))
  for (const place of [path, real]) {
    const root = roots
      .filter((each) => isWithin(place, each.path))
      .toSorted((a, b) => b.path.length - a.path.length)[0]
    if (!root)
      throw execdError(
        'INVALID_REQUEST_BODY',
        `"${path}" leads out of the session: its files are in ${roots.map((each) => each.path).join(', ')}`,
      )
    if (isWriting && !root.isWritable)
      throw execdError(
        'INVALID_REQUEST_BODY',
        `Cannot write to "${path}": ${root.reason ?? `"${root.path}" is read-only in this session`}`,
      )
  }
}

/** `path` without links; what does not exist is taken as it stands. */
function realPlace(path: string, links = 0): string {
  try {
    return decodeName(realpathSync(nativePath(path), { encoding: 'buffer' }))
  } catch (error) {
    const code = systemCodeOf(error)
    if ((code !== 'ENOENT' && code !== 'ENOTDIR') || path === '/' || links > MAX_LINKS)
      throw execdError('RUNTIME_ERROR', `Cannot reach "${path}": ${messageOf(error)}`, error)
    const parent = realPlace(dirname(path), links + 1)
    const place = join(parent, basename(path))
    const target = linkTarget(place)
    // A link to nothing: what is written through it is made where it leads.
    return target === undefined ? place : realPlace(resolve(parent, target), links + 1)
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return decodeName(readlinkSync(nativePath(path), { encoding: 'buffer' }))
  } catch {
    // No link, or nothing there.
    return undefined
  }
}
