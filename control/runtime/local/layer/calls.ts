// The functions of the C library that libc.ts and content.ts are made of, by their prototypes, and how they fail.

import { openCLibrary } from '../../../../lib/koffi.ts'

/** A call to the system that failed; `code` as Node's errors have it. */
class SystemError extends Error {
  readonly code: string
  constructor(call: string, code: string) {
    super(`${code}: ${call}`)
    this.name = 'SystemError'
    this.code = code
  }
}

export type Calls = ReturnType<typeof openCalls>

/** Throws when this machine has no module for it. */
export function openCalls() {
  const library = openCLibrary()
  const func = (prototype: string) => library.func(prototype)
  /** Why the last call failed. */
  const code = () => library.code()
  const error = (call: string) => new SystemError(call, code())
  return {
    code,
    error,
    /** What a call has given back; throws when it failed. */
    check(call: string, result: number): number {
      if (result < 0) throw error(call)
      return result
    },
    statx: func('int statx(int dir, const void *name, int flags, uint mask, void *out)'),
    openat: func('int openat(int dir, const void *name, int flags, uint mode)'),
    close: func('int close(int fd)'),
    getdents64: func('int64 getdents64(int fd, void *out, uint64 size)'),
    mkdirat: func('int mkdirat(int dir, const void *name, uint mode)'),
    mknodat: func('int mknodat(int dir, const void *name, uint mode, uint64 device)'),
    symlinkat: func('int symlinkat(const void *target, int dir, const void *name)'),
    readlinkat: func('int64 readlinkat(int dir, const void *name, void *out, uint64 size)'),
    linkat: func('int linkat(int dir, const void *name, int to, const void *toName, int flags)'),
    unlinkat: func('int unlinkat(int dir, const void *name, int flags)'),
    fchownat: func('int fchownat(int dir, const void *name, uint uid, uint gid, int flags)'),
    fchmodat: func('int fchmodat(int dir, const void *name, uint mode, int flags)'),
    utimensat: func('int utimensat(int dir, const void *name, const void *times, int flags)'),
    llistxattr: func('int64 llistxattr(const void *path, void *out, uint64 size)'),
    lgetxattr: func('int64 lgetxattr(const void *path, const void *name, void *out, uint64 size)'),
    lsetxattr: func(
      'int lsetxattr(const void *path, const void *name, const void *value, uint64 size, int flags)',
    ),
    lseek: func('int64 lseek(int fd, int64 offset, int whence)'),
    ftruncate: func('int ftruncate(int fd, int64 size)'),
    ioctl: func('int ioctl(int fd, uint64 request, uint64 value)'),
    copy: func('int64 copy_file_range(int from, void *at, int to, void *toAt, uint64 size, uint flags)'),
    sendfile: func('int64 sendfile(int to, int from, void *at, uint64 size)'),
    syncfs: func('int syncfs(int fd)'),
  }
}
