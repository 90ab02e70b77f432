// The output of a sandbox's entrypoint, as execd keeps it in the exchange directory: the current file, and before it at most one
// whose name ends with the position where it begins (execd/command/journal.ts). The directory is the sandbox's: its root may
// have put links, pipes or directories there, which are passed over.

import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'

const NAME = 'entrypoint.log'

/** At most the last `maxBytes` of the output; undefined when there is none. */
export function readEntrypointLog(exchange: string, maxBytes: number): Buffer | undefined {
  let names: string[]
  try {
    names = readdirSync(exchange)
  } catch {
    return undefined // the sandbox is gone, or only half made
  }
  const older = names
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
