// What keys and tenants are called, and how a key is kept, wherever they come from: the configuration, a file of tenants, the
// admin API.

import { createHash, timingSafeEqual } from 'node:crypto'

/** In which a request carries its key. */
export const API_KEY_HEADER = 'OPEN-SANDBOX-API-KEY'

/** In which a request carries what opens a sandbox that is not open to everybody (contract: gateway.md 3.1). */
export const SECURE_ACCESS_HEADER = 'OpenSandbox-Secure-Access'

export const ROLES = ['admin', 'member', 'read-only'] as const
export type Role = (typeof ROLES)[number]

/** A tenant stands in labels and file names, so it is a label itself. */
export const TENANT_NAME = {
  pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
  maxLength: 63,
  allowed: 'lower-case letters, digits and hyphens',
}

export const KEY_NAME = {
  pattern: /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/,
  maxLength: 63,
  allowed: 'letters, digits, "-", "_" and "."',
}

/** The hash under which a key is kept: keys are random, so a fast one cannot be searched. */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/** Whether two hashes are the same, in a time that does not tell where they differ. */
export function isSameHash(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}

const HASHED = /^sha256:([0-9a-f]{64})$/i
/** A key travels in a header: what cannot stand in one could never be sent. */
const SENDABLE = /^[\x21-\x7e]{1,512}$/

/** The hash of a key that is written as it is, or as `sha256:` and its hash; undefined when it is neither. */
export function hashOfWritten(written: string): string | undefined {
  const hash = HASHED.exec(written)?.[1]?.toLowerCase()
  if (hash !== undefined) return hash
  // What was meant as a hash and is none would become a key that everybody can read.
  if (/^sha256:/i.test(written) || !SENDABLE.test(written)) return undefined
  return hashKey(written)
}

export const WRITTEN_KEY =
  'a key of 1 to 512 visible ASCII characters, or "sha256:" and 64 hexadecimal digits'
