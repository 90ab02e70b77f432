// A certificate of the gateway's own, for a start: nobody knows it, so browsers ask before they go on. It is made once and kept, so
// that who has been told to trust it need not be told again.

import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { formatKey, type KeyAndCertificate, makeCertificate, makeKeyPair } from '../../lib/x509.ts'

const NAME = 'OpenSandbox Edge, self-signed'
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
  const { privateKey, publicKey } = makeKeyPair()
  const certificate = makeCertificate({
    name: NAME,
    publicKey,
    issuer: { name: NAME, key: privateKey },
    notBefore: now - DAY_MS,
    notAfter: now + DAYS * DAY_MS,
    serverNames: names,
    // Who trusts it puts it among the authorities.
    isAuthority: true,
  })
  return { key: formatKey(privateKey), certificate }
}
