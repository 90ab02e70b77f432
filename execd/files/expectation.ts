// Compare-and-write: a client says what it believes to stand at a path, and nothing is changed when something else does.

import { constants } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { type Body, field, optionalBoolean, wrong } from '../http/body.ts'
import { nativePath } from './name.ts'

const CHUNK_BYTES = 256 << 10

export type Expectation =
  /** Nothing, not even a link. */
  | { kind: 'absent' }
  /** A file with this content. */
  | { kind: 'sha256'; sha256: string }

/** Reads `if_sha256` and `if_absent`; `name` is how messages call what they belong to. */
export function parseExpectation(body: Body, name: string): Expectation | undefined {
  const sha256 = field(body, 'if_sha256')
  const isAbsent = optionalBoolean(body, 'if_absent') ?? false
  if (sha256 === undefined) return isAbsent ? { kind: 'absent' } : undefined
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/i.test(sha256))
    throw wrong(`${name}: if_sha256`, 'a text of 64 hexadecimal digits', sha256)
  if (isAbsent)
    throw execdError('INVALID_REQUEST_BODY', `${name}: "if_sha256" and "if_absent" cannot both be given`)
  return { kind: 'sha256', sha256: sha256.toLowerCase() }
}

/** Refuses unless what stands at `path` is what is expected. */
export async function requireExpected(path: string, expected: Expectation | undefined): Promise<void> {
  if (!expected) return
  if (expected.kind === 'absent') {
    if (await isThere(path)) throw conflict(path, 'there is something already')
    return
  }
  const found = await hashFile(path)
  if (found === undefined) throw conflict(path, 'there is no file')
  if (found !== expected.sha256) throw conflict(path, `the SHA-256 of its content is ${found}`)
}

export function conflict(path: string, found: string): Error {
  return execdError('CONFLICT', `Nothing was written to "${path}" as it is not what was expected: ${found}`)
}

/** The SHA-256 of a regular file's content in hexadecimal digits; undefined when there is no file. */
export async function hashFile(path: string, signal?: AbortSignal): Promise<string | undefined> {
  const { createHash } = process.getBuiltinModule('node:crypto')
  let handle: FileHandle
  try {
    handle = await open(nativePath(path), constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
  try {
    const hash = createHash('sha256')
    const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
    for (;;) {
      signal?.throwIfAborted()
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(buffer.subarray(0, bytesRead))
    }
  } finally {
    await handle.close()
  }
}

/** Whether there is anything at `path`, be it a link to nothing. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(nativePath(path))
    return true
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false
    throw error
  }
}
