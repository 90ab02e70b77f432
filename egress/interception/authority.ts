// The authority of one sandbox, which signs what its programs are shown in place of the certificates of servers. The sandbox trusts it
// and no other sandbox does; its key is made here and never leaves, so nobody inside can sign anything.

import type { KeyObject } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { formatKey, makeCertificate, makeKeyPair, parseKey } from '../../lib/x509.ts'

export type Authority = { name: string; certificate: string; key: KeyObject }

/** How the keys lie on the disk: what is sealed for one sandbox opens for no other. */
export type KeySeal = {
  seal(text: string, sandboxId: string): string
  open(sealed: string, sandboxId: string): string
}

export type Authorities = {
  /** The authority of a sandbox, made when there is none. */
  authorityOf(sandboxId: string): Authority
  /** Forgets it. Fine when there is none. */
  remove(sandboxId: string): void
}

const DAY_MS = 86_400_000
/** Longer than any sandbox lives. */
const DAYS = 3650
/** A sandbox that was paused, or restored from a snapshot, may live in the past for a while. */
const SKEW_DAYS = 30
const MARK = '-----BEGIN CERTIFICATE-----'

/** The authorities in a directory, which is made if missing: one file each, which its owner alone may read. */
export function openAuthorities(options: {
  directory: string
  seal: KeySeal
  now?: () => number
}): Authorities {
  const { directory, seal, now = Date.now } = options
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const known = new Map<string, Authority>()
  const pathOf = (id: string) => join(directory, `${id}.pem`)

  const load = (id: string): Authority | undefined => {
    const text = readIfThere(pathOf(id))
    if (text === undefined) return undefined
    const at = text.indexOf(MARK)
    if (at < 0) throw new Error(`The file "${pathOf(id)}" holds no certificate`)
    return {
      name: nameOf(id),
      certificate: text.slice(at),
      key: parseKey(seal.open(text.slice(0, at).trim(), id)),
    }
  }

  const create = (id: string): Authority => {
    const authority = makeAuthority(id, now())
    // Whole or not at all: two programs of a sandbox must not be shown two authorities.
    const draft = join(directory, `.${id}`)
    writeFileSync(draft, `${seal.seal(formatKey(authority.key), id)}\n${authority.certificate}`, {
      mode: 0o600,
    })
    renameSync(draft, pathOf(id))
    return authority
  }

  return {
    authorityOf(id) {
      const authority = known.get(id) ?? load(id) ?? create(id)
      known.set(id, authority)
      return authority
    },
    remove(id) {
      known.delete(id)
      rmSync(pathOf(id), { force: true })
    },
  }
}

export function makeAuthority(sandboxId: string, now: number): Authority {
  const name = nameOf(sandboxId)
  const { privateKey: key, publicKey } = makeKeyPair()
  const certificate = makeCertificate({
    name,
    publicKey,
    issuer: { name, key },
    notBefore: now - SKEW_DAYS * DAY_MS,
    notAfter: now + DAYS * DAY_MS,
    isAuthority: true,
  })
  return { name, certificate, key }
}

function nameOf(sandboxId: string): string {
  return `OpenSandbox Edge, for sandbox ${sandboxId}`.slice(0, 64)
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
