// Certificates of our own making, on the curve P-256. The little of ASN.1 that it takes is written out here (RFC 5280).

import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { isIP } from 'node:net'

export type KeyAndCertificate = { key: string; certificate: string }

export type Issuer = { name: string; key: KeyObject }

export type CertificateOrder = {
  /** The common name of its subject. */
  name: string
  publicKey: KeyObject
  issuer: Issuer
  notBefore: number
  notAfter: number
  /** Names and addresses of the server that it is for. */
  serverNames?: readonly string[]
  /** Whether it may sign certificates of servers, and of no further authorities. */
  isAuthority?: boolean
}

const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2'
const COMMON_NAME = '2.5.4.3'
const SUBJECT_KEY_ID = '2.5.29.14'
const KEY_USAGE = '2.5.29.15'
const ALTERNATIVE_NAMES = '2.5.29.17'
const BASIC_CONSTRAINTS = '2.5.29.19'
const AUTHORITY_KEY_ID = '2.5.29.35'
const EXTENDED_KEY_USAGE = '2.5.29.37'
const SERVER_AUTHENTICATION = '1.3.6.1.5.5.7.3.1'
const DIGITAL_SIGNATURE = 0x80
const SIGN_CERTIFICATES_AND_LISTS = 0x06
const TRUE = Buffer.from([0x01, 0x01, 0xff])
const FIRST_YEAR_OF_FOUR_DIGITS = Date.UTC(2050, 0)

export function makeKeyPair(): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

export function formatKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}

export function parseKey(pem: string): KeyObject {
  return createPrivateKey(pem)
}

/** The certificate, as PEM. */
export function makeCertificate(order: CertificateOrder): string {
  const { issuer } = order
  const algorithm = sequence(oid(ECDSA_WITH_SHA256))
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40
  const toSign = sequence(
    tagged(0xa0, tagged(0x02, Buffer.from([2]))),
    tagged(0x02, serial),
    algorithm,
    commonName(issuer.name),
    sequence(time(order.notBefore), time(order.notAfter)),
    commonName(order.name),
    order.publicKey.export({ type: 'spki', format: 'der' }),
    tagged(0xa3, sequence(...extensionsOf(order))),
  )
  const signature = sign('sha256', toSign, issuer.key)
  return formatPem(sequence(toSign, algorithm, bits(0, signature)))
}

function extensionsOf({ publicKey, issuer, serverNames, isAuthority = false }: CertificateOrder): Buffer[] {
  const usage = (serverNames ? DIGITAL_SIGNATURE : 0) | (isAuthority ? SIGN_CERTIFICATES_AND_LISTS : 0)
  const extensions = [
    extension(SUBJECT_KEY_ID, tagged(0x04, keyId(publicKey))),
    extension(AUTHORITY_KEY_ID, sequence(tagged(0x80, keyId(issuer.key)))),
    critical(BASIC_CONSTRAINTS, isAuthority ? sequence(TRUE, tagged(0x02, Buffer.from([0]))) : sequence()),
    critical(KEY_USAGE, bits(isAuthority ? 1 : 7, Buffer.from([usage]))),
  ]
  if (!serverNames) return extensions
  const names = serverNames.map((each) =>
    isIP(each) === 0 ? tagged(0x82, Buffer.from(each)) : tagged(0x87, bytesOfIp(each)),
  )
  return [
    ...extensions,
    extension(ALTERNATIVE_NAMES, sequence(...names)),
    extension(EXTENDED_KEY_USAGE, sequence(oid(SERVER_AUTHENTICATION))),
  ]
}

/** Of a public key, or of the public half of a private one (RFC 7093 2, method 1). */
function keyId(key: KeyObject): Buffer {
  const { x = '', y = '' } = key.export({ format: 'jwk' })
  const point = [Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]
  return createHash('sha256').update(Buffer.concat(point)).digest().subarray(0, 20)
}

function commonName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid(COMMON_NAME), tagged(0x0c, Buffer.from(name)))))
}

/** `unused`: how many of the last byte do not count. */
function bits(unused: number, content: Buffer): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.from([unused]), content]))
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), tagged(0x04, value))
}

function critical(id: string, value: Buffer): Buffer {
  return sequence(oid(id), TRUE, tagged(0x04, value))
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

/** Before 2050 years have two digits here, and four from then on. */
function time(ms: number): Buffer {
  const text = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '')
  return ms < FIRST_YEAR_OF_FOUR_DIGITS
    ? tagged(0x17, Buffer.from(text.slice(2)))
    : tagged(0x18, Buffer.from(text))
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
