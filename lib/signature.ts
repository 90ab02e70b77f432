// Signed names of a sandbox's port (contract: lifecycle.md 4.3, OSEP-0011), byte for byte: `{id}-{port}-{expires}-{signature}`,
// where the signature is the begin of a hash and the letter of the key that it was made with. Control signs, the gateway
// verifies, and both read the keys from the same configuration. Pure.

import { createHash, timingSafeEqual } from 'node:crypto'

/** The keys by their letters. Whoever verifies knows several, so that one can be replaced while the other still holds. */
export type SigningKeys = ReadonlyMap<string, Uint8Array>

/** As they stand in a name. */
export type RouteSignature = { expires: string; signature: string }

/** What is signed; the path, the query and the method are not. */
export type SignedRoute = { id: string; port: number; expires: string }

export type SignatureVerdict = 'valid' | 'no_keys' | 'expired' | 'unknown_key' | 'mismatch'

export const MAX_EXPIRES = 2n ** 64n - 1n
const KEY_ID = /^[0-9a-z]$/
const EXPIRES = /^(?:0|[1-9a-z][0-9a-z]{0,12})$/
const SIGNATURE = /^[0-9a-f]{8}[0-9a-z]$/
const MAX_EXPIRES_TEXT = MAX_EXPIRES.toString(36)

/** Whether a text can be the letter of a key. */
export function isKeyId(text: string): boolean {
  return KEY_ID.test(text)
}

/** Whether two texts have the form of an end and a signature; undefined when one has not. */
export function readSignature(expires: string, signature: string): RouteSignature | undefined {
  return isExpires(expires) && SIGNATURE.test(signature) ? { expires, signature } : undefined
}

/** Seconds since 1970, as they stand in a name. */
export function formatExpires(seconds: bigint): string {
  return seconds.toString(36)
}

/** Undefined when it is no such text. */
export function parseExpires(text: string): bigint | undefined {
  if (!isExpires(text)) return undefined
  // Up to 13 digits: two halves are exact as numbers.
  const low = text.slice(-7)
  const high = text.slice(0, -7) || '0'
  return BigInt(Number.parseInt(high, 36)) * 36n ** BigInt(low.length) + BigInt(Number.parseInt(low, 36))
}

/** Signs with the key of this letter. Throws when there is none. */
export function signRoute(keys: SigningKeys, keyId: string, route: SignedRoute): string {
  const secret = keys.get(keyId)
  if (!secret) throw new Error(`Cannot sign with key "${keyId}": there is no such key`)
  return hashOf(secret, route) + keyId
}

/** Whether a signature holds at `now`, in milliseconds. Its end is looked at first (contract: gateway.md 3). */
export function verifyRoute(
  keys: SigningKeys,
  { signature, ...route }: SignedRoute & RouteSignature,
  now: number,
): SignatureVerdict {
  if (keys.size === 0) return 'no_keys'
  const expires = parseExpires(route.expires)
  if (expires === undefined || BigInt(Math.floor(now / 1000)) > expires) return 'expired'
  const secret = keys.get(signature.slice(8))
  if (!secret) return 'unknown_key'
  const wanted = Buffer.from(hashOf(secret, route))
  return timingSafeEqual(wanted, Buffer.from(signature.slice(0, 8))) ? 'valid' : 'mismatch'
}

/** The first eight hexadecimal digits of what is hashed. */
function hashOf(secret: Uint8Array, { id, port, expires }: SignedRoute): string {
  const canonical = Buffer.from(`v1\nshort\n${id}\n${port}\n${expires}\n`)
  return createHash('sha256')
    .update(lengthOf(secret))
    .update(secret)
    .update(lengthOf(canonical))
    .update(canonical)
    .digest('hex')
    .slice(0, 8)
}

function lengthOf({ length }: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(length)
  return bytes
}

// Of equal length, base 36 in lower case sorts as its numbers do.
function isExpires(text: string): boolean {
  return EXPIRES.test(text) && (text.length < MAX_EXPIRES_TEXT.length || text <= MAX_EXPIRES_TEXT)
}
