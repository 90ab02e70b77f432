// `POST /directories/archive`, an addition: unpacks a tar, as it arrives, or a zip into a directory. Nothing gets out of the directory,
// and how much may come is bounded before it is written. A directory that was not there appears whole or not at all; in one that
// was there, what came before a failure stays.

import type { Stats } from 'node:fs'
import { realpath, rename, stat } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { ArchiveFormat } from '../../../lib/api/execd-files.ts'
import { systemCodeOf } from '../../../lib/errors.ts'
import { execdError } from '../../http/answer.ts'
import { makeDirectory } from '../change.ts'
import { neverAborted } from '../gone.ts'
import { decodeName, nativePath } from '../name.ts'
import { removeTree } from '../remove.ts'
import { Pace, type Turns } from '../turns.ts'
import { temporaryBeside, type Writing } from '../write.ts'
import { ArchiveError } from './archive.ts'
import { ByteReader } from './byte-reader.ts'
import { ContainedTree } from './contained.ts'
import { readTar } from './tar-reader.ts'
import { Unpacker } from './unpacker.ts'

/** How long a client may bring nothing before it is given up. */
const IDLE_MS = 300_000
const UNZIP_CHUNK_BYTES = 256 << 10

export type UnpackOptions = {
  /** Without it the archive itself says what it is. */
  format: ArchiveFormat | undefined
  keepLinks: boolean
  maxBytes: number
  writing: Writing
  turns: Turns
}

/** Unpacks the body of a request into `dir`. */
export async function receiveArchive(
  request: IncomingMessage,
  dir: string,
  options: UnpackOptions,
): Promise<void> {
  const { turns } = options
  const { owner, unfinished } = options.writing
  request.setTimeout(IDLE_MS)
  const pace = new Pace(turns, neverAborted())
  const found = await statOrNone(dir)
  if (found && !found.isDirectory())
    throw execdError('INVALID_REQUEST_BODY', `Cannot unpack into "${dir}": it is not a directory`)
  if (found) {
    const real = decodeName(await realpath(nativePath(dir), { encoding: 'buffer' }))
    return await unpackInto(request, { root: real, dir: real, pace }, options)
  }
  await makeDirectory(dirname(dir), owner)
  const root = temporaryBeside(dir)
  try {
    await unfinished.begin(root, () => makeDirectory(root, owner))
    await unpackInto(request, { root, dir, pace }, options)
    await rename(nativePath(root), nativePath(dir))
  } catch (error) {
    await removeTree(root, pace)
    throw error
  } finally {
    unfinished.finish(root)
  }
}

type Place = {
  /** Where it is unpacked, and where it will be. */
  root: string
  dir: string
  pace: Pace
}

async function unpackInto(
  request: IncomingMessage,
  { root, dir, pace }: Place,
  { format, keepLinks, maxBytes, writing: { owner, vital } }: UnpackOptions,
): Promise<void> {
  const tree = new ContainedTree(nativePath(root), owner)
  const unpacker = new Unpacker({ tree, dir, vital, keepLinks, maxBytes, pace })
  const take = unpacker.take.bind(unpacker)
  try {
    const reader = new ByteReader(request)
    const kind = format ?? sniffFormat(await reader.peek(4))
    if (kind === 'zip') {
      const { readZip } = await import('./zip-reader.ts')
      await readZip(reader, { dir: root, maxBytes }, take)
    } else if (kind === 'tar.gz') {
      const { createGunzip } = process.getBuiltinModule('node:zlib')
      await pipeline(
        () => reader.rest(),
        createGunzip({ chunkSize: UNZIP_CHUNK_BYTES }),
        (bytes: AsyncIterable<Buffer>) => readTar(new ByteReader(bytes), take),
      )
    } else await readTar(reader, take)
    await tree.finish(pace)
  } catch (error) {
    throw explain(error, request)
  } finally {
    tree.close()
  }
}

function sniffFormat(head: Buffer): ArchiveFormat {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'tar.gz'
  return head.toString('latin1', 0, 2) === 'PK' ? 'zip' : 'tar'
}

function explain(error: unknown, request: IncomingMessage): unknown {
  if (error instanceof ArchiveError)
    return execdError('INVALID_FILE_CONTENT', `Cannot unpack the archive as ${error.message}`, error)
  if (request.destroyed && !request.complete)
    return execdError('INVALID_FILE_CONTENT', 'The archive was cut off', error)
  if (systemCodeOf(error)?.startsWith('Z_'))
    return execdError(
      'INVALID_FILE_CONTENT',
      'Cannot unpack the archive as its compression is damaged',
      error,
    )
  return error
}

async function statOrNone(path: string): Promise<Stats | undefined> {
  try {
    return await stat(nativePath(path))
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
