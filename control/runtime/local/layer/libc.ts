// The calls to the system by which a tree is copied that belongs to somebody who may change it meanwhile. Every file is named by a
// directory that is held open and one name, and no symbolic link is followed: a directory that is swapped for a link while it is
// copied leads nowhere. Node has no such calls, so they go through koffi (docs/decisions/c-library.md).

import { constants } from 'node:fs'
import { type Calls, openCalls } from './calls.ts'
import { Content } from './content.ts'

/** As the kernel has them on all architectures that we know. */
export const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
const AT_REMOVEDIR = 0x200
const STATX_BASIC_STATS = 0x7ff
const S_IFMT = 0o170000
const LIST_BYTES = 64 << 10
const MAX_XATTR_BYTES = 64 << 10
const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants
const O_CLOEXEC = 0o2000000

/** A name as the directory has it: bytes, with a zero at the end. */
export type Name = Buffer

export type Stat = {
  kind: number
  mode: number
  uid: number
  gid: number
  inode: bigint
  links: number
  size: number
  blocks: number
  rdevMajor: number
  rdevMinor: number
  atime: [sec: bigint, nsec: number]
  mtime: [sec: bigint, nsec: number]
  ctime: [sec: bigint, nsec: number]
}

export const KIND = {
  file: 0o100000,
  directory: 0o040000,
  link: 0o120000,
  fifo: 0o010000,
  socket: 0o140000,
  device: 0o020000,
} as const

/** What the calls have in common, for one thread. Throws when this machine has no module for it. */
export class Libc {
  readonly #calls: Calls
  readonly checkIn: () => void
  /** What files hold that are open. */
  readonly content: Content
  readonly #stat = Buffer.alloc(256)
  readonly #list = Buffer.alloc(LIST_BYTES)
  readonly #value = Buffer.alloc(MAX_XATTR_BYTES)
  readonly #times = Buffer.alloc(32)
  readonly #target = Buffer.alloc(8192)

  /** `checkIn` is called all the time, and throws to end the work: what is open is closed on the way out. */
  constructor(checkIn: () => void = () => {}) {
    this.checkIn = checkIn
    this.#calls = openCalls()
    this.content = new Content(this.#calls, checkIn)
  }

  /** Nothing when there is no such name. */
  stat(dir: number, name: Name): Stat | undefined {
    this.checkIn()
    const flags = name.length === 1 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW
    const out = this.#stat
    if (this.#calls.statx(dir, name, flags, STATX_BASIC_STATS, out) !== 0) {
      if (this.#calls.code() === 'ENOENT') return undefined
      throw this.#calls.error('statx')
    }
    const mode = out.readUInt16LE(28)
    const time = (at: number): [bigint, number] => [out.readBigInt64LE(at), out.readUInt32LE(at + 8)]
    return {
      kind: mode & S_IFMT,
      mode: mode & 0o7777,
      uid: out.readUInt32LE(20),
      gid: out.readUInt32LE(24),
      inode: out.readBigUInt64LE(32),
      links: out.readUInt32LE(16),
      size: Number(out.readBigUInt64LE(40)),
      blocks: Number(out.readBigUInt64LE(48)),
      rdevMajor: out.readUInt32LE(128),
      rdevMinor: out.readUInt32LE(132),
      atime: time(64),
      mtime: time(112),
      ctime: time(96),
    }
  }

  /** Opens a directory; nothing when it is none any more. */
  openDirectory(dir: number, name: Name): number | undefined {
    return this.#open(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
  }

  /** Opens a file for reading; nothing when it is not there any more, or is a link by now. It may be anything else. */
  openFile(dir: number, name: Name): number | undefined {
    return this.#open(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
  }

  createFile(dir: number, name: Name): number {
    const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    return this.#calls.check('openat', this.#calls.openat(dir, name, flags, 0o600))
  }

  close(fd: number): void {
    this.#calls.close(fd)
  }

  /** The names in a directory that is open. */
  *names(fd: number): Generator<Name> {
    this.#calls.check('lseek', this.#calls.lseek(fd, 0, 0))
    for (;;) {
      const size = this.#calls.check('getdents64', this.#calls.getdents64(fd, this.#list, LIST_BYTES))
      if (size === 0) return
      const found: Name[] = []
      for (let at = 0; at < size; at += this.#list.readUInt16LE(at + 16)) {
        const end = this.#list.indexOf(0, at + 19)
        const name = Buffer.from(this.#list.subarray(at + 19, end + 1))
        if (name.equals(DOT) || name.equals(DOT_DOT)) continue
        found.push(name)
      }
      yield* found
    }
  }

  makeDirectory(dir: number, name: Name): void {
    this.#calls.check('mkdirat', this.#calls.mkdirat(dir, name, 0o700))
  }

  /** A fifo, a socket, or the device that stands for what is not there any more in an overlay. */
  makeNode(dir: number, name: Name, mode: number): void {
    this.#calls.check('mknodat', this.#calls.mknodat(dir, name, mode, 0))
  }

  makeLink(target: Buffer, dir: number, name: Name): void {
    this.#calls.check('symlinkat', this.#calls.symlinkat(target, dir, name))
  }

  /** Where a link leads, with a zero at the end; nothing when it is none any more. */
  readLink(dir: number, name: Name): Buffer | undefined {
    const size = this.#calls.readlinkat(dir, name, this.#target, this.#target.length - 1)
    if (size < 0) {
      const code = this.#calls.code()
      if (code === 'ENOENT' || code === 'EINVAL') return undefined
      throw this.#calls.error('readlinkat')
    }
    this.#target[size] = 0
    return Buffer.from(this.#target.subarray(0, size + 1))
  }

  /** A further name of a file of ours; false when that cannot be. */
  addName(dir: number, from: Name, to: number, name: Name): boolean {
    return this.#calls.linkat(dir, from, to, name, 0) === 0
  }

  remove(dir: number, name: Name, isDirectory: boolean): void {
    this.#calls.check('unlinkat', this.#calls.unlinkat(dir, name, isDirectory ? AT_REMOVEDIR : 0))
  }

  setOwner(dir: number, name: Name, { uid, gid }: Stat): void {
    this.#calls.check('fchownat', this.#calls.fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW))
  }

  setMode(dir: number, name: Name, { mode }: Stat): void {
    this.#calls.check('fchmodat', this.#calls.fchmodat(dir, name, mode, 0))
  }

  setTimes(dir: number, name: Name, { atime, mtime }: Stat): void {
    for (const [at, [sec, nsec]] of [atime, mtime].entries()) {
      this.#times.writeBigInt64LE(sec, at * 16)
      this.#times.writeBigInt64LE(BigInt(nsec), at * 16 + 8)
    }
    this.#calls.check('utimensat', this.#calls.utimensat(dir, name, this.#times, AT_SYMLINK_NOFOLLOW))
  }

  /** The extended attributes of a name, by their names; none where the file system has no such thing. */
  attributes(dir: number, name: Name): [name: Buffer, value: Buffer][] {
    const path = pathIn(dir, name)
    const size = this.#calls.llistxattr(path, this.#value, MAX_XATTR_BYTES)
    if (size <= 0) {
      if (size === 0 || ['ENOTSUP', 'ENOENT'].includes(this.#calls.code())) return []
      throw this.#calls.error('llistxattr')
    }
    const names = split(Buffer.from(this.#value.subarray(0, size)))
    return names.flatMap((attribute): [Buffer, Buffer][] => {
      const length = this.#calls.lgetxattr(path, attribute, this.#value, MAX_XATTR_BYTES)
      // It was removed meanwhile.
      return length < 0 ? [] : [[attribute, Buffer.from(this.#value.subarray(0, length))]]
    })
  }

  setAttribute(dir: number, name: Name, [attribute, value]: [Buffer, Buffer]): void {
    const done = this.#calls.lsetxattr(pathIn(dir, name), attribute, value, value.length, 0)
    this.#calls.check('lsetxattr', done)
  }

  /** Brings everything of a file system to its disk. */
  sync(fd: number): void {
    this.#calls.check('syncfs', this.#calls.syncfs(fd))
  }

  #open(dir: number, name: Name, flags: number): number | undefined {
    const fd = this.#calls.openat(dir, name, flags, 0)
    if (fd >= 0) return fd
    if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'].includes(this.#calls.code())) return undefined
    throw this.#calls.error('openat')
  }
}

/** The directory that is open, for calls that take a name. */
export const DOT: Name = Buffer.from('.\0')
const DOT_DOT = Buffer.from('..\0')
/** Names what is open itself; for attributes, only a directory. */
export const ITSELF: Name = Buffer.from('\0')

/** A name of which each byte is a character. */
export function nameOf(key: string): Name {
  return Buffer.from(`${key}\0`, 'latin1')
}

/** A path for calls that take no directory: by the open directory, so no other one can be meant. */
function pathIn(dir: number, name: Name): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${dir}/`), name])
}

/** A list of texts that each end with a zero, which stays. */
function split(list: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < list.length; ) {
    const end = list.indexOf(0, at)
    parts.push(list.subarray(at, end + 1))
    at = end + 1
  }
  return parts
}
