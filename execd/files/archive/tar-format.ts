// The tar format (POSIX.1-2001, pax; what GNU tar writes is read too): heads of 512 bytes, each followed by the content of its
// entry, filled up to whole blocks. What does not fit into a head stands in a pax record before it.

import { decodeName, encodeName } from '../name.ts'

export const BLOCK_BYTES = 512
const ZEROS = Buffer.alloc(2 * BLOCK_BYTES)
const MAX_OCTAL_SIZE = 0o77777777777
const MAX_OCTAL_ID = 0o7777777

const TAR_TYPES = ['file', 'directory', 'symlink', 'hardlink', 'other'] as const
export type TarType = (typeof TAR_TYPES)[number]

export type TarHead = {
  name: string
  type: TarType
  mode: number
  size: number
  mtimeMs: number
  /** Where a link points. */
  target: string
  uid: number
  gid: number
  owner: string
  group: string
}

/** What stands before the content of an entry. */
export function formatTarHead(head: TarHead): Buffer {
  const name = encodeName(head.name)
  const target = encodeName(head.target)
  const records: [string, Buffer][] = []
  if (name.length > 100) records.push(['path', name])
  if (target.length > 100) records.push(['linkpath', target])
  if (head.size > MAX_OCTAL_SIZE) records.push(['size', Buffer.from(String(head.size))])
  if (head.uid > MAX_OCTAL_ID) records.push(['uid', Buffer.from(String(head.uid))])
  if (head.gid > MAX_OCTAL_ID) records.push(['gid', Buffer.from(String(head.gid))])
  if (head.mtimeMs < 0 || head.mtimeMs / 1000 > MAX_OCTAL_SIZE)
    records.push(['mtime', Buffer.from(String(Math.floor(head.mtimeMs / 1000)))])
  if (records.length === 0) return formatBlock(head, TYPE_FLAGS[head.type], name, target)
  // Names that are not UTF-8 are told to be bytes.
  if (!head.name.isWellFormed() || !head.target.isWellFormed())
    records.unshift(['hdrcharset', Buffer.from('BINARY')])
  const pax = Buffer.concat(records.map(([key, value]) => formatPaxRecord(key, value)))
  const paxHead = { ...head, size: pax.length, mode: 0o644, uid: 0, gid: 0, mtimeMs: 0 }
  return Buffer.concat([
    formatBlock(paxHead, 'x', Buffer.from('pax'), Buffer.alloc(0)),
    pax,
    padding(pax.length),
    formatBlock(head, TYPE_FLAGS[head.type], name, target),
  ])
}

/** What fills up the last block of a content. */
export function padding(size: number): Buffer {
  return ZEROS.subarray(0, (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES)
}

/** What ends an archive. */
export function tarEnd(): Buffer {
  return ZEROS
}

const TYPE_FLAGS: Record<TarType, string> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  directory: '5',
  other: '6',
}

function formatBlock(head: TarHead, flag: string, name: Buffer, target: Buffer): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES)
  const octal = (value: number, at: number, digits: number, max: number) =>
    block.write(
      Math.min(Math.max(Math.floor(value), 0), max)
        .toString(8)
        .padStart(digits, '0'),
      at,
    )
  name.copy(block, 0, 0, 100)
  octal(head.mode & 0o7777, 100, 7, 0o7777)
  octal(head.uid, 108, 7, MAX_OCTAL_ID)
  octal(head.gid, 116, 7, MAX_OCTAL_ID)
  octal(head.size, 124, 11, MAX_OCTAL_SIZE)
  octal(head.mtimeMs / 1000, 136, 11, MAX_OCTAL_SIZE)
  block.write(flag, 156)
  target.copy(block, 157, 0, 100)
  block.write('ustar\x0000', 257, 'latin1')
  block.write(head.owner, 265, 31)
  block.write(head.group, 297, 31)
  block.write(`${checksum(block).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

function formatPaxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')])
  let length = rest.length + 1
  // The length counts its own digits.
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** A block that is a head; the type is the flag as it stands there. */
export type RawHead = Omit<TarHead, 'type'> & { flag: string }

/** Reads a head; undefined for a block of zeros, which ends an archive, and 'broken' for anything else. */
export function parseTarBlock(block: Buffer): RawHead | undefined | 'broken' {
  const sum = checksum(block)
  // An empty block has nothing but the eight spaces that stand for its sum.
  if (sum === 8 * 0x20) return undefined
  if (number(block, 148, 8) !== sum) return 'broken'
  const prefix = block.toString('latin1', 257, 263) === 'ustar\0' ? bytes(block, 345, 155) : Buffer.alloc(0)
  const name = bytes(block, 0, 100)
  return {
    name: decodeName(prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name),
    mode: number(block, 100, 8) & 0o7777,
    uid: number(block, 108, 8),
    gid: number(block, 116, 8),
    size: number(block, 124, 12),
    mtimeMs: number(block, 136, 12) * 1000,
    flag: String.fromCharCode(block[156] ?? 0),
    target: decodeName(bytes(block, 157, 100)),
    owner: decodeName(bytes(block, 265, 32)),
    group: decodeName(bytes(block, 297, 32)),
  }
}

/** Programs write a handful, and one for each attribute of a file. */
const MAX_PAX_RECORDS = 5000

/** The records of a pax head; undefined when they are not well formed, or so many that to read them would take long. */
export function parsePaxRecords(content: Buffer): Map<string, Buffer> | undefined {
  const records = new Map<string, Buffer>()
  for (let at = 0, count = 0; at < content.length; ) {
    if (++count > MAX_PAX_RECORDS) return undefined
    const space = content.indexOf(0x20, at)
    const digits = space < 0 || space - at > 10 ? '' : content.toString('latin1', at, space)
    const length = /^\d+$/.test(digits) ? Number(digits) : 0
    const record = content.subarray(space + 1, at + length)
    const equals = record.indexOf(0x3d)
    if (at + length > content.length || equals <= 0 || record.at(-1) !== 0x0a) return undefined
    records.set(record.toString('utf8', 0, equals), record.subarray(equals + 1, -1))
    at += length
  }
  return records
}

/** The sum of all bytes, with spaces in the place of the sum itself. */
function checksum(block: Buffer): number {
  let sum = 8 * 0x20
  for (let at = 0; at < BLOCK_BYTES; at++) if (at < 148 || at >= 156) sum += block[at] ?? 0
  return sum
}

function bytes(block: Buffer, at: number, length: number): Buffer {
  const field = block.subarray(at, at + length)
  const end = field.indexOf(0)
  return end < 0 ? field : field.subarray(0, end)
}

/** Octal digits; or, with the first bit set, as GNU tar writes what is larger, a binary number. NaN for anything else. */
function number(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0
  if ((first & 0x80) !== 0) {
    const isNegative = first === 0xff
    let value = isNegative ? -1 : first & 0x7f
    for (let index = at + 1; index < at + length; index++) value = value * 256 + (block[index] ?? 0)
    return value
  }
  const digits = block
    .toString('latin1', at, at + length)
    .replace(/[\0 ]+$/, '')
    .trim()
  return /^[0-7]*$/.test(digits) ? Number.parseInt(digits || '0', 8) : Number.NaN
}
