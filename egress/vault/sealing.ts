// Keeps vaults unreadable on the disk: AES-256-GCM by keys of this installation, which lie in a file of their own. Whoever gets the
// files of vaults alone has nothing; and as the seal is bound to the sandbox and the revision, one file cannot stand for another.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import { systemCodeOf } from '../../lib/errors.ts'
import type { KeySeal } from '../interception/authority.ts'

export const sealedSchema = z.strictObject({
  key: z.string(),
  nonce: z.string(),
  text: z.string(),
  tag: z.string(),
})
export type Sealed = z.infer<typeof sealedSchema>

export type Sealing = {
  /** `context` is not kept, and must be the same when it is opened. */
  seal(text: string, context: string): Sealed
  /** Throws when it is not what was sealed, or by a key that is not there any more. */
  open(sealed: Sealed, context: string): string
  /** Whether it was sealed by the key that is used now. */
  isCurrent(sealed: Sealed): boolean
}

const ALGORITHM = 'aes-256-gcm'
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const LINE = /^([A-Za-z0-9_-]{1,32}) ([A-Za-z0-9+/]{43}=)$/

/** The keys of a file: one in a line, `name base64`, the first is used to seal. It is made with a first key when there is none. */
export function openSealing(path: string): Sealing {
  const keys = parseKeys(readOrMake(path), path)
  const [current] = keys
  if (!current)
    throw new Error(`"${path}" holds no key: put one back from a backup, or remove the file and the vaults`)
  const [currentName, currentKey] = current
  return {
    seal(text, context) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv(ALGORITHM, currentKey, nonce).setAAD(Buffer.from(context))
      const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return {
        key: currentName,
        nonce: nonce.toString('base64'),
        text: sealed.toString('base64'),
        tag: cipher.getAuthTag().toString('base64'),
      }
    },
    open({ key: name, nonce, text, tag }, context) {
      const key = keys.get(name)
      if (!key) throw new Error(`it was sealed by the key "${name}", which is not in "${path}"`)
      const decipher = createDecipheriv(ALGORITHM, key, Buffer.from(nonce, 'base64'), {
        authTagLength: TAG_BYTES,
      })
        .setAAD(Buffer.from(context))
        .setAuthTag(Buffer.from(tag, 'base64'))
      return Buffer.concat([decipher.update(Buffer.from(text, 'base64')), decipher.final()]).toString()
    },
    isCurrent: ({ key }) => key === currentName,
  }
}

function parseKeys(text: string, path: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>()
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const [, name, key] = LINE.exec(line.trim()) ?? []
    // Never the line itself: it is a key.
    if (name === undefined || key === undefined || keys.has(name))
      throw new Error(
        `Line ${index + 1} of "${path}" must be a name that is not there yet and ${KEY_BYTES} bytes in base64`,
      )
    keys.set(name, Buffer.from(key, 'base64'))
  }
  return keys
}

function readOrMake(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const made = `${path}.${process.pid}.new`
  writeFileSync(made, `${randomBytes(4).toString('hex')} ${randomBytes(KEY_BYTES).toString('base64')}\n`, {
    mode: 0o600,
    flush: true,
  })
  try {
    // Whole or not at all, and never over another that is there by now.
    linkSync(made, path)
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error
  } finally {
    rmSync(made, { force: true })
  }
  return readFileSync(path, 'utf8')
}

/** The same for the keys of authorities (interception/authority.ts), which are kept as one line each. */
export function sealOfAuthorities(sealing: Sealing): KeySeal {
  const contextOf = (id: string) => `opensandbox authority ${id}`
  return {
    seal: (text, id) => JSON.stringify(sealing.seal(text, contextOf(id))),
    open: (sealed, id) => sealing.open(sealedSchema.parse(JSON.parse(sealed)), contextOf(id)),
  }
}
