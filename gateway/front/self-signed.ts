// A certificate of the gateway's own, for a start: nobody knows it, so browsers ask before they go on. It is made once and kept, so
// that who has been told to trust it need not be told again. The little of ASN.1 that it takes is written out here (RFC 5280).

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'

export type KeyAndCertificate = { key: string; certificate: string }

const DAYS = 3650
const DAY_MS = 86_400_000

/** The certificate kept in `folder`, made when there is none. One file holds both, so that nobody sees one without the other. */
export function openSelfSigned(folder: string, names: readonly string[], now: number): KeyAndCertificate {
  const path = join(folder, 'self-signed.pem')
  const kept = readKept(path)
  if (kept) return kept
  const { key, certificate } = makeSelfSigned(names, now)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  writeFileSync(draft, key + certificate, { mode: 0o600 })
  try {
    linkSync(draft, path)
  } catch (error) {
    // Another process was first, and its certificate counts for all.
    if (systemCodeOf(error) !== 'EEXIST') throw error
  } finally {
    rmSync(draft)
  }
  return readKept(path) ?? { key, certificate }
}

function readKept(path: string): KeyAndCertificate | undefined {
  try {
    const text = readFileSync(path, 'utf8')
    const at = text.indexOf('-----BEGIN CERTIFICATE-----')
    return at < 0 ? undefined : { key: text.slice(0, at), certificate: text.slice(at) }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** A certificate for these names and addresses. */
export function makeSelfSigned(names: readonly string[], now: number): KeyAndCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: formatPem(makeDer(privateKey, publicKey, names, now)),
  }
}

function makeDer(privateKey: KeyObject, publicKey: KeyObject, names: readonly string[], now: number): Buffer {
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'))
  const name = sequence(
    tagged(0x31, sequence(oid('2.5.4.3'), tagged(0x0c, Buffer.from('OpenSandbox Edge, self-signed')))),
  )
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40
  const alternatives = sequence(
    ...names.map((each) =>
      isIP(each) === 0 ? tagged(0x82, Buffer.from(each)) : tagged(0x87, bytesOfIp(each)),
    ),
  )
  const extensions = sequence(
    extension('2.5.29.17', alternatives),
    extension('2.5.29.19', sequence(tagged(0x01, Buffer.from([0xff])))),
    extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'))),
  )
  const toSign = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    tagged(0x02, serial),
    algorithm,
    name,
    sequence(time(now - DAY_MS), time(now + DAYS * DAY_MS)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, extensions),
  )
  const signature = sign('sha256', toSign, privateKey)
  return sequence(toSign, algorithm, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])))
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), tagged(0x04, value))
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts))
}

function tagged(tag: number, content: Buffer): Buffer {
  const { length } = content
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

function base128(value: number): number[] {
  const digits = [value & 127]
  for (let left = value >> 7; left > 0; left >>= 7) digits.unshift((left & 127) | 128)
  return digits
}

/** Before 2050 years have two digits here. */
function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '')
  return tagged(0x17, Buffer.from(text.slice(2)))
}

function bytesOfIp(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number))
  const [front = '', back = ''] = address.split('::')
  const groups = (text: string) =>
    text === '' ? [] : text.split(':').map((each) => Number.parseInt(each, 16))
  const [head, tail] = [groups(front), groups(back)]
  const all = [...head, ...Array<number>(Math.max(0, 8 - head.length - tail.length)).fill(0), ...tail]
  return Buffer.from(all.flatMap((each) => [each >> 8, each & 255]))
}

function formatPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
