// A trust store as every Java reads it (the format "JKS", version 2). Nothing in it is secret; its digest is there because the format
// has one.

import { createHash } from 'node:crypto'

const MAGIC = 0xfeedfeed
const VERSION = 2
const TRUSTED_CERTIFICATE = 2

export function makeKeystore(
  certificates: readonly Buffer[],
  { password, now }: { password: string; now: number },
): Buffer {
  const entries = certificates.flatMap((certificate, index) => [
    number(TRUSTED_CERTIFICATE),
    text(`ca-${index}`),
    moment(now),
    text('X.509'),
    number(certificate.length),
    certificate,
  ])
  const body = Buffer.concat([number(MAGIC), number(VERSION), number(certificates.length), ...entries])
  // The password in UTF-16 with the high byte first, and words that the format wants.
  const salt = Buffer.concat([Buffer.from(password, 'utf16le').swap16(), Buffer.from('Mighty Aphrodite')])
  return Buffer.concat([body, createHash('sha1').update(salt).update(body).digest()])
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function moment(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}
