// Reading a zip. Its list of entries stands at its end, so it is stored first, in a file without a name where it is unpacked.

import { crc32 } from 'node:zlib'
import { type Entry, fromFd, getFileNameLowLevel, type ZipFile } from 'yauzl'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import { decodeName } from '../name.ts'
import { openSpool } from '../spool.ts'
import { ArchiveError, type Content } from './archive.ts'
import type { ByteReader } from './byte-reader.ts'
import type { TarType } from './tar-format.ts'
import type { EntryHead } from './unpacker.ts'

const UNIX = 3
const UTF8_NAMES = 0x800
const TYPE_BITS = 0o170000
const TYPES = new Map<number, TarType>([
  [0, 'file'],
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
])
const MAX_TARGET_BYTES = 4096

/** Calls `take` for each entry, in the order of the list. */
export async function readZip(
  reader: ByteReader,
  { dir, maxBytes }: { dir: string; maxBytes: number },
  take: (head: EntryHead, content: Content) => Promise<void>,
): Promise<void> {
  const spool = await openSpool(dir, maxBytes, 'The archive')
  try {
    for await (const bytes of reader.rest())
      for (let rest = bytes; rest.length > 0; )
        rest = rest.subarray((await spool.writev([rest])).bytesWritten)
    const zip = await openZip(spool.handle.fd)
    for (let entry = await nextEntry(zip); entry; entry = await nextEntry(zip)) {
      const content = new ZipContent(zip, entry)
      await take(await headOf(entry, content), content)
    }
  } catch (error) {
    // What the parser of zips says, in its own words.
    if (error instanceof Error && error.constructor === Error && systemCodeOf(error) === undefined)
      throw new ArchiveError(`it is not a zip, or damaged: ${messageOf(error)}`, { cause: error })
    throw error
  } finally {
    await spool.close()
  }
}

class ZipContent implements Content {
  readonly size: number
  readonly #zip: ZipFile
  readonly #entry: Entry

  constructor(zip: ZipFile, entry: Entry) {
    this.#zip = zip
    this.#entry = entry
    this.size = entry.uncompressedSize
  }

  async whole(): Promise<Buffer> {
    const pieces: Buffer[] = []
    for await (const piece of this.pieces()) pieces.push(piece)
    return Buffer.concat(pieces)
  }

  async *pieces(): AsyncGenerator<Buffer> {
    const stream = await new Promise<AsyncIterable<Buffer>>((resolve, reject) =>
      this.#zip.openReadStream(this.#entry, (error, opened) => (error ? reject(error) : resolve(opened))),
    )
    let sum = 0
    for await (const piece of stream) {
      sum = crc32(piece, sum)
      yield piece
    }
    if (sum !== this.#entry.crc32) throw new ArchiveError(`"${nameOf(this.#entry)}" in it is damaged`)
  }
}

async function headOf(entry: Entry, content: ZipContent): Promise<EntryHead> {
  const name = nameOf(entry)
  const isUnix = entry.versionMadeBy >> 8 === UNIX
  const attributes = isUnix ? entry.externalFileAttributes >>> 16 : 0
  const type = name.endsWith('/') ? 'directory' : (TYPES.get(attributes & TYPE_BITS) ?? 'other')
  if (entry.isEncrypted()) throw new ArchiveError(`"${name.toWellFormed()}" in it is encrypted`)
  if (type === 'symlink' && content.size > MAX_TARGET_BYTES)
    throw new ArchiveError(`"${name.toWellFormed()}" in it is a link that is too long`)
  return {
    name,
    type,
    mode: attributes & 0o7777 || (type === 'directory' ? 0o755 : 0o644),
    size: type === 'file' ? content.size : 0,
    mtimeMs: entry.getLastModDate().getTime(),
    target: type === 'symlink' ? decodeName(await content.whole()) : '',
  }
}

function nameOf(entry: Entry): string {
  const isBytes = (entry.generalPurposeBitFlag & UTF8_NAMES) !== 0 || entry.versionMadeBy >> 8 === UNIX
  const raw = entry.fileNameRaw
  return isBytes || raw.every((byte) => byte < 0x80)
    ? decodeName(raw)
    : getFileNameLowLevel(entry.generalPurposeBitFlag, raw, entry.extraFields, false)
}

function openZip(fd: number): Promise<ZipFile> {
  return new Promise((resolve, reject) =>
    fromFd(fd, { lazyEntries: true, autoClose: false, decodeStrings: false }, (error, zip) =>
      error ? reject(error) : resolve(zip),
    ),
  )
}

function nextEntry(zip: ZipFile): Promise<Entry | undefined> {
  return new Promise((resolve, reject) => {
    const finish = (act: () => void) => {
      zip.off('entry', onEntry)
      zip.off('end', onEnd)
      zip.off('error', onError)
      act()
    }
    const onEntry = (entry: Entry) => finish(() => resolve(entry))
    const onEnd = () => finish(() => resolve(undefined))
    const onError = (error: unknown) => finish(() => reject(error))
    zip.on('entry', onEntry)
    zip.on('end', onEnd)
    zip.on('error', onError)
    zip.readEntry()
  })
}
