// `GET /directories/archive`, an addition: a directory as a tar, a compressed tar or a zip, made while it is sent. Names in it begin
// below the directory. Links stay links; sockets, pipes and devices are left out. A file that becomes shorter while it is sent breaks
// the connection, because what follows would not be what was promised.

import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  read,
  readlinkSync,
  readSync,
  type Stats,
} from 'node:fs'
import type { ServerResponse } from 'node:http'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import type { ArchiveFormat } from '../../../lib/api/execd-files.ts'
import { systemCodeOf } from '../../../lib/errors.ts'
import { execdError } from '../../http/answer.ts'
import type { Users } from '../../users.ts'
import { disposition } from '../disposition.ts'
import { decodeName, nativePath } from '../name.ts'
import type { Pace } from '../turns.ts'
import { type Entry, walk } from '../walk.ts'
import { ArchiveOutput } from './output.ts'
import { TarWriter } from './tar-writer.ts'
import { ZipWriter } from './zip-writer.ts'

/** What is no larger is read in one step. */
const SMALL_BYTES = 64 << 10
const CHUNK_BYTES = 512 << 10
/** How long a client may take nothing before it is given up. */
const IDLE_MS = 300_000
/** How many files and directories are missing, because they could not be read. */
const LEFT_OUT_TRAILER = 'EXECD-LEFT-OUT'
const CONTENT_TYPES = { tar: 'application/x-tar', 'tar.gz': 'application/gzip', zip: 'application/zip' }
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW
const readSome = promisify(read)

/** An entry to write: a small content is known, a larger one comes piece by piece. */
export type Packed = {
  name: string
  stat: Stats
  type: 'file' | 'directory' | 'symlink'
  target: string
  size: number
  content: Buffer | AsyncIterable<Buffer> | undefined
}

export type ArchiveWriter = {
  add(entry: Packed): undefined | Promise<void>
  end(): Promise<void>
}

export type PackOptions = { format: ArchiveFormat; users: Users; pace: Pace }

/** Answers with everything below `dir`. */
export async function sendArchive(
  response: ServerResponse,
  dir: string,
  { format, users, pace }: PackOptions,
): Promise<void> {
  response.setTimeout(IDLE_MS)
  const headers = {
    'Content-Type': CONTENT_TYPES[format],
    'Content-Disposition': disposition(`${basename(dir) || 'root'}.${format}`),
    Trailer: LEFT_OUT_TRAILER,
  }
  const { createGzip } = process.getBuiltinModule('node:zlib')
  const output = new ArchiveOutput(response, headers, format === 'tar.gz' ? createGzip() : undefined)
  const writer = format === 'zip' ? new ZipWriter(output) : new TarWriter(output, users)
  const start = dir.endsWith('/') ? dir.length : dir.length + 1
  const buffer = Buffer.allocUnsafeSlow(SMALL_BYTES)
  let leftOut = 0
  const onUnreadable = () => {
    leftOut++
  }
  await walk(dir, { pace, onUnreadable }, ({ path, kind }) => {
    if (kind === 'other') return true
    let fd: number | undefined
    try {
      fd = kind === 'file' ? openSync(nativePath(path), OPEN_FLAGS) : undefined
      const entry = readEntry({ path, kind, fd, name: path.slice(start), buffer })
      const added = entry && writer.add(entry)
      if (!added) return true
      // Closed when all of it has been read.
      const open = fd
      fd = undefined
      return added.then(() => true).finally(() => open !== undefined && closeSync(open))
    } catch (error) {
      const code = systemCodeOf(error)
      if (code === undefined) throw error
      if (code !== 'ENOENT') leftOut++
      return true
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  })
  await writer.end()
  await output.end(leftOut > 0 ? { [LEFT_OUT_TRAILER]: String(leftOut) } : {})
}

type ToRead = Pick<Entry, 'path' | 'kind' | 'name'> & {
  fd: number | undefined
  /** For the content of a small file. */
  buffer: Buffer
}

/** Undefined when it has become something else meanwhile. */
function readEntry({ path, kind, fd, name, buffer }: ToRead): Packed | undefined {
  const stat = fd === undefined ? lstatSync(nativePath(path)) : fstatSync(fd)
  if (fd === undefined) {
    const target =
      kind === 'symlink' ? decodeName(readlinkSync(nativePath(path), { encoding: 'buffer' })) : ''
    const type = kind === 'symlink' ? 'symlink' : 'directory'
    return { name, stat, type, target, size: 0, content: undefined }
  }
  if (!stat.isFile()) return undefined
  const content = stat.size <= SMALL_BYTES ? readSmall(fd, stat.size, buffer) : readLarge(fd, stat.size, path)
  const size = Buffer.isBuffer(content) ? content.length : stat.size
  return { name, stat, type: 'file', target: '', size, content }
}

function readSmall(fd: number, size: number, buffer: Buffer): Buffer {
  let length = 0
  while (length < size) {
    const count = readSync(fd, buffer, length, size - length, length)
    if (count === 0) break
    length += count
  }
  return buffer.subarray(0, length)
}

async function* readLarge(fd: number, size: number, path: string): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  for (let at = 0; at < size; ) {
    const { bytesRead } = await readSome(fd, buffer, 0, Math.min(CHUNK_BYTES, size - at), at)
    if (bytesRead === 0)
      throw execdError('RUNTIME_ERROR', `The file "${path}" became shorter while it was sent`)
    at += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}
