// Writing a zip as its entries come (APPNOTE 6.3.3). What is small is compressed before it is announced; a larger content is followed
// by its size and sum. Its list of entries, which every zip ends with, is all that is kept.

import { crc32, createDeflateRaw, deflateRawSync } from 'node:zlib'
import { encodeName } from '../name.ts'
import type { ArchiveOutput } from './output.ts'
import type { ArchiveWriter, Packed } from './pack.ts'

const VERSION = 45
const MADE_BY_UNIX = (3 << 8) | VERSION
const SIZES_FOLLOW = 0x8
const UTF8_NAMES = 0x800
const STORED = 0
const DEFLATED = 8
const MAX_32 = 0xffffffff
const MAX_16 = 0xffff
/** Beyond this a content may need more than 32 bits, compressed or not. */
const LARGE_BYTES = 0xf0000000
const TYPE_BITS = { file: 0o100000, directory: 0o040000, symlink: 0o120000 }

type Record = {
  name: Buffer
  flags: number
  method: number
  time: Buffer
  crc: number
  compressed: number
  size: number
  attributes: number
  offset: number
}

export class ZipWriter implements ArchiveWriter {
  readonly #output: ArchiveOutput
  readonly #list: Buffer[] = []

  constructor(output: ArchiveOutput) {
    this.#output = output
  }

  add(entry: Packed): undefined | Promise<void> {
    const content = entry.type === 'symlink' ? encodeName(entry.target) : (entry.content ?? Buffer.alloc(0))
    const record = this.#begin(entry)
    if (!Buffer.isBuffer(content)) return this.#addLarge(record, entry.size, content)
    const deflated = content.length > 0 ? deflateRawSync(content) : content
    const isSmaller = deflated.length < content.length
    const data = isSmaller ? deflated : content
    const known = {
      ...record,
      method: isSmaller ? DEFLATED : STORED,
      crc: crc32(content),
      compressed: data.length,
      size: content.length,
    }
    this.#list.push(formatListed(known))
    return this.#output.write(Buffer.concat([formatLocal(known, false), data]))
  }

  async end(): Promise<void> {
    const start = this.#output.written
    for (const record of this.#list) await this.#output.write(record)
    await this.#output.write(formatEnd(this.#list.length, start, this.#output.written - start))
  }

  async #addLarge(record: Record, size: number, content: AsyncIterable<Buffer>): Promise<void> {
    const isLarge = size >= LARGE_BYTES
    const known = { ...record, flags: record.flags | SIZES_FOLLOW, method: DEFLATED }
    await this.#output.write(formatLocal(known, isLarge))
    const deflate = createDeflateRaw()
    const start = this.#output.written
    const sent = (async () => {
      for await (const piece of deflate) await this.#output.write(piece as Buffer)
    })()
    try {
      for await (const piece of content) {
        known.crc = crc32(piece, known.crc)
        known.size += piece.length
        // Waited for, because the buffer is used again.
        await new Promise((resolve) => deflate.write(piece, resolve))
      }
      deflate.end()
      await sent
    } finally {
      deflate.destroy()
      await sent.catch(() => {})
    }
    known.compressed = this.#output.written - start
    const descriptor = Buffer.alloc(isLarge ? 24 : 16)
    descriptor.writeUInt32LE(0x08074b50, 0)
    descriptor.writeUInt32LE(known.crc, 4)
    if (isLarge) {
      descriptor.writeBigUInt64LE(BigInt(known.compressed), 8)
      descriptor.writeBigUInt64LE(BigInt(known.size), 16)
    } else {
      descriptor.writeUInt32LE(known.compressed, 8)
      descriptor.writeUInt32LE(known.size, 12)
    }
    this.#list.push(formatListed(known))
    await this.#output.write(descriptor)
  }

  #begin({ name, type, stat }: Packed): Record {
    return {
      name: encodeName(type === 'directory' ? `${name}/` : name),
      flags: name.isWellFormed() ? UTF8_NAMES : 0,
      method: STORED,
      time: formatTime(stat.mtimeMs),
      crc: 0,
      compressed: 0,
      size: 0,
      attributes:
        (((TYPE_BITS[type] | (stat.mode & 0o7777)) << 16) | (type === 'directory' ? 0x10 : 0)) >>> 0,
      offset: this.#output.written,
    }
  }
}

function formatLocal(record: Record, isLarge: boolean): Buffer {
  const extra = isLarge ? formatExtra(1, Buffer.alloc(16)) : Buffer.alloc(0)
  const head = Buffer.alloc(30)
  head.writeUInt32LE(0x04034b50, 0)
  head.writeUInt16LE(VERSION, 4)
  writeCommon(head, 6, record)
  if (isLarge) head.fill(0xff, 18, 26)
  const time = formatExtra(0x5455, record.time)
  head.writeUInt16LE(record.name.length, 26)
  head.writeUInt16LE(extra.length + time.length, 28)
  return Buffer.concat([head, record.name, extra, time])
}

function formatListed(record: Record): Buffer {
  const beyond = [record.size, record.compressed, record.offset].filter((value) => value >= MAX_32)
  const extra = beyond.length > 0 ? formatExtra(1, Buffer.concat(beyond.map(bytes64))) : Buffer.alloc(0)
  const time = formatExtra(0x5455, record.time)
  const head = Buffer.alloc(46)
  head.writeUInt32LE(0x02014b50, 0)
  head.writeUInt16LE(MADE_BY_UNIX, 4)
  head.writeUInt16LE(VERSION, 6)
  writeCommon(head, 8, record)
  head.writeUInt16LE(record.name.length, 28)
  head.writeUInt16LE(extra.length + time.length, 30)
  head.writeUInt32LE(record.attributes, 38)
  head.writeUInt32LE(Math.min(record.offset, MAX_32), 42)
  return Buffer.concat([head, record.name, extra, time])
}

function writeCommon(head: Buffer, at: number, { flags, method, time, crc, compressed, size }: Record): void {
  head.writeUInt16LE(flags, at)
  head.writeUInt16LE(method, at + 2)
  head.writeUInt32LE(dosTime(time.readInt32LE(1)), at + 4)
  head.writeUInt32LE(crc, at + 8)
  head.writeUInt32LE(Math.min(compressed, MAX_32), at + 12)
  head.writeUInt32LE(Math.min(size, MAX_32), at + 16)
}

function formatEnd(count: number, start: number, length: number): Buffer {
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(Math.min(count, MAX_16), 8)
  end.writeUInt16LE(Math.min(count, MAX_16), 10)
  end.writeUInt32LE(Math.min(length, MAX_32), 12)
  end.writeUInt32LE(Math.min(start, MAX_32), 16)
  if (count < MAX_16 && length < MAX_32 && start < MAX_32) return end
  const large = Buffer.alloc(56)
  large.writeUInt32LE(0x06064b50, 0)
  large.writeBigUInt64LE(44n, 4)
  large.writeUInt16LE(MADE_BY_UNIX, 12)
  large.writeUInt16LE(VERSION, 14)
  for (const [index, value] of [count, count, length, start].entries())
    large.writeBigUInt64LE(BigInt(value), 24 + 8 * index)
  const locator = Buffer.alloc(20)
  locator.writeUInt32LE(0x07064b50, 0)
  locator.writeBigUInt64LE(BigInt(start + length), 8)
  locator.writeUInt32LE(1, 16)
  return Buffer.concat([large, locator, end])
}

function formatExtra(id: number, data: Buffer): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16LE(id, 0)
  head.writeUInt16LE(data.length, 2)
  return Buffer.concat([head, data])
}

/** Seconds since 1970, as far as they fit. */
function formatTime(ms: number): Buffer {
  const data = Buffer.alloc(5)
  data[0] = 1
  data.writeInt32LE(Math.min(Math.max(Math.floor(ms / 1000), 0), 0x7fffffff), 1)
  return data
}

/** The local time of old: two seconds exact, from 1980 to 2107. */
function dosTime(seconds: number): number {
  const date = new Date(Math.max(seconds, 315_619_200) * 1000)
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate()
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1)
  return ((day << 16) | time) >>> 0
}

function bytes64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
