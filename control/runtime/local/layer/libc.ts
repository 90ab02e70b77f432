// The calls to the system by which a tree is copied that belongs to somebody who may change it meanwhile. Every file is named by a
// directory that is held open and one name, and no symbolic link is followed: a directory that is swapped for a link while it is
// copied leads nowhere. Node has no such calls, so they go through koffi (docs/decisions/c-library.md).

import { constants } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { type Calls, openCalls } from './calls.ts'

/** As the kernel has them on all architectures that we know. */
export const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const AT_EMPTY_PATH = 0x1000
const AT_REMOVEDIR = 0x200
const STATX_BASIC_STATS = 0x7ff
const SEEK_DATA = 3
const SEEK_HOLE = 4
const FICLONE = 0x40049409
const S_IFMT = 0o170000
const COPY_CHUNK = 16 << 20
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

/** A call to the system that failed; `code` as Node's errors have it. */
export class SystemError extends Error {
  readonly code: string
  constructor(call: string, code: string) {
    super(`${code}: ${call}`)
    this.name = 'SystemError'
    this.code = code
  }
}

/** What the calls have in common, for one thread. Throws when this machine has no module for it. */
export class Libc {
  readonly #calls: Calls
  readonly #errno: () => number
  readonly checkIn: () => void
  readonly #stat = Buffer.alloc(256)
  /** Whether the file system has said that it cannot share blocks. */
  #cannotShare = false
  /** Whether the two sides have turned out to be different file systems, between which only bytes go. */
  #isFromOtherDisk = false
  readonly #list = Buffer.alloc(LIST_BYTES)
  readonly #value = Buffer.alloc(MAX_XATTR_BYTES)
  readonly #times = Buffer.alloc(32)
  readonly #target = Buffer.alloc(8192)

  /** `checkIn` is called all the time, and throws to end the work: what is open is closed on the way out. */
  constructor(checkIn: () => void = () => {}) {
    this.checkIn = checkIn
    const { calls, errno } = openCalls()
    this.#calls = calls
    this.#errno = errno
  }

  /** Nothing when there is no such name. */
  stat(dir: number, name: Name): Stat | undefined {
    this.checkIn()
    const flags = name.length === 1 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW
    const out = this.#stat
    if (this.#calls.statx(dir, name, flags, STATX_BASIC_STATS, out) !== 0) {
      if (this.#code() === 'ENOENT') return undefined
      throw this.#error('statx')
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
    return this.#check('openat', this.#calls.openat(dir, name, flags, 0o600))
  }

  close(fd: number): void {
    this.#calls.close(fd)
  }

  /** The names in a directory that is open. */
  *names(fd: number): Generator<Name> {
    this.#check('lseek', this.#calls.lseek(fd, 0, 0))
    for (;;) {
      const size = this.#check('getdents64', this.#calls.getdents64(fd, this.#list, LIST_BYTES))
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
    this.#check('mkdirat', this.#calls.mkdirat(dir, name, 0o700))
  }

  /** A fifo, a socket, or the device that stands for what is not there any more in an overlay. */
  makeNode(dir: number, name: Name, mode: number): void {
    this.#check('mknodat', this.#calls.mknodat(dir, name, mode, 0))
  }

  makeLink(target: Buffer, dir: number, name: Name): void {
    this.#check('symlinkat', this.#calls.symlinkat(target, dir, name))
  }

  /** Where a link leads, with a zero at the end; nothing when it is none any more. */
  readLink(dir: number, name: Name): Buffer | undefined {
    const size = this.#calls.readlinkat(dir, name, this.#target, this.#target.length - 1)
    if (size < 0) {
      const code = this.#code()
      if (code === 'ENOENT' || code === 'EINVAL') return undefined
      throw this.#error('readlinkat')
    }
    this.#target[size] = 0
    return Buffer.from(this.#target.subarray(0, size + 1))
  }

  /** A further name of a file of ours; false when that cannot be. */
  addName(dir: number, from: Name, to: number, name: Name): boolean {
    return this.#calls.linkat(dir, from, to, name, 0) === 0
  }

  remove(dir: number, name: Name, isDirectory: boolean): void {
    this.#check('unlinkat', this.#calls.unlinkat(dir, name, isDirectory ? AT_REMOVEDIR : 0))
  }

  setOwner(dir: number, name: Name, { uid, gid }: Stat): void {
    this.#check('fchownat', this.#calls.fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW))
  }

  setMode(dir: number, name: Name, { mode }: Stat): void {
    this.#check('fchmodat', this.#calls.fchmodat(dir, name, mode, 0))
  }

  setTimes(dir: number, name: Name, { atime, mtime }: Stat): void {
    for (const [at, [sec, nsec]] of [atime, mtime].entries()) {
      this.#times.writeBigInt64LE(sec, at * 16)
      this.#times.writeBigInt64LE(BigInt(nsec), at * 16 + 8)
    }
    this.#check('utimensat', this.#calls.utimensat(dir, name, this.#times, AT_SYMLINK_NOFOLLOW))
  }

  /** The extended attributes of a name, by their names; none where the file system has no such thing. */
  attributes(dir: number, name: Name): [name: Buffer, value: Buffer][] {
    const path = pathIn(dir, name)
    const size = this.#calls.llistxattr(path, this.#value, MAX_XATTR_BYTES)
    if (size <= 0) {
      if (size === 0 || ['ENOTSUP', 'ENOENT'].includes(this.#code())) return []
      throw this.#error('llistxattr')
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
    this.#check('lsetxattr', done)
  }

  /** Copies what a file holds, its holes as holes; shares the blocks where the file system can. */
  copyContent(from: number, to: number, { size, blocks }: Stat): void {
    if (size === 0) return
    if (!this.#cannotShare) {
      if (this.#calls.ioctl(to, FICLONE, from) === 0) return
      this.#cannotShare = true
    }
    // Who has blocks for all of it has no holes, and need not be asked where they are.
    if (blocks * 512 >= size) this.#copyRange(from, to, 0, size)
    else {
      this.#check('ftruncate', this.#calls.ftruncate(to, size))
      for (const [start, end] of this.data(from, size)) this.#copyRange(from, to, start, end)
    }
  }

  /** Where data begins and ends at or after an offset; both the size when there is no more. */
  #nextData(fd: number, at: number, size: number): [number, number] {
    if (at >= size) return [size, size]
    const start = this.#calls.lseek(fd, at, SEEK_DATA)
    // There is only a hole behind it; or the file has become shorter.
    if (start < 0) return [size, size]
    const end = this.#calls.lseek(fd, start, SEEK_HOLE)
    return [Math.min(start, size), Math.min(end < 0 ? size : end, size)]
  }

  #copyRange(from: number, to: number, start: number, end: number): void {
    if (start > 0) {
      this.#check('lseek', this.#calls.lseek(from, start, 0))
      this.#check('lseek', this.#calls.lseek(to, start, 0))
    }
    for (let at = start; at < end; ) {
      this.checkIn()
      const size = Math.min(end - at, COPY_CHUNK)
      const done = this.#isFromOtherDisk
        ? this.#calls.sendfile(to, from, null, size)
        : this.#calls.copy(from, null, to, null, size, 0)
      if (done === 0) return // it has become shorter
      if (done > 0) at += done
      // A sandbox with a disk of its own.
      else if (!this.#isFromOtherDisk && this.#code() === 'EXDEV') this.#isFromOtherDisk = true
      else throw this.#error('copy')
    }
  }

  /** The parts of a file that are no holes. */
  *data(fd: number, size: number): Generator<[start: number, end: number]> {
    for (let [start, end] = this.#nextData(fd, 0, size); start < size; ) {
      yield [start, end]
      ;[start, end] = this.#nextData(fd, end, size)
    }
  }

  /** Brings everything of a file system to its disk. */
  sync(fd: number): void {
    this.#check('syncfs', this.#calls.syncfs(fd))
  }

  #open(dir: number, name: Name, flags: number): number | undefined {
    const fd = this.#calls.openat(dir, name, flags, 0)
    if (fd >= 0) return fd
    if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO'].includes(this.#code())) return undefined
    throw this.#error('openat')
  }

  #check(call: string, result: number): number {
    if (result < 0) throw this.#error(call)
    return result
  }

  #code(): string {
    return getSystemErrorName(-this.#errno())
  }

  #error(call: string): SystemError {
    return new SystemError(call, this.#code())
  }
}

const DOT = Buffer.from('.\0')
const DOT_DOT = Buffer.from('..\0')
/** Names what is open itself; for attributes, only a directory. */
export const ITSELF: Name = Buffer.from('\0')

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
