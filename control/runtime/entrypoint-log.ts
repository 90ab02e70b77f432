// The output of a sandbox's entrypoint, as execd keeps it in the exchange directory: the current file, and before it at most one
// whose name ends with the position where it begins (execd/command/journal.ts). The directory is the sandbox's: its root may
// have put links, pipes or directories there, which are passed over.

import { closeSync, constants, type Dir, fstatSync, opendirSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'

const NAME = 'entrypoint.log'
const MAX_NAMES = 1000

/** At most the last `maxBytes` of the output; undefined when there is none. */
export function readEntrypointLog(exchange: string, maxBytes: number): Buffer | undefined {
  const older = namesIn(exchange)
    .flatMap((name) => {
      const position = /^entrypoint\.log\.(\d{1,15})$/.exec(name)?.[1]
      return position === undefined ? [] : [{ name, position: Number(position) }]
    })
    .sort((a, b) => b.position - a.position)
    .map(({ name }) => name)
  let found: Buffer | undefined
  for (const name of [NAME, ...older.slice(0, 1)]) {
    const room = maxBytes - (found?.length ?? 0)
    const part = room > 0 ? readEnd(join(exchange, name), room) : undefined
    if (part) found = found ? Buffer.concat([part, found]) : part
  }
  return found
}

/** At most MAX_NAMES of what there is: execd makes a handful, and a sandbox may make millions. */
function namesIn(dir: string): string[] {
  let opened: Dir
  try {
    opened = opendirSync(dir)
  } catch {
    return [] // the sandbox is gone, or only half made
  }
  const names: string[] = []
  try {
    for (let entry = opened.readSync(); entry && names.length < MAX_NAMES; entry = opened.readSync())
      names.push(entry.name)
  } finally {
    opened.closeSync()
  }
  return names
}

function readEnd(path: string, maxBytes: number): Buffer | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    return undefined // not there, or a link
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) return undefined
    const start = Math.max(0, stat.size - maxBytes)
    const bytes = Buffer.alloc(Math.min(stat.size, maxBytes))
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, start))
  } finally {
    closeSync(fd)
  }
}
