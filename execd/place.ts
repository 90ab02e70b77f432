// One file or directory, whatever becomes of its name: it is opened without following a link, and reached through that handle from then
// on. Who owns a directory can put a link in the place of anything in it at any moment; what root then changes by name lies elsewhere.

import { closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs'

/** Names a file without opening it, so that no device and no pipe is touched. Node has no name for it; on all of Linux it is this. */
const O_PATH = 0o10000000

/** `path` leads to the place itself; for a link, to the link. `fd` is good for opening what is in a directory, and for no more. */
export type Place = { path: string; fd: number; stat: Stats }

/** Opens what is at `path`, be it a link. It must be closed. */
export function openPlace(path: string | Buffer, flags = constants.O_NOFOLLOW): Place {
  const fd = openSync(path, O_PATH | flags)
  try {
    return { path: `/proc/self/fd/${fd}`, fd, stat: fstatSync(fd) }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

export function closePlace({ fd }: Place): void {
  closeSync(fd)
}
