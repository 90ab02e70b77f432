// The boot file as control wrote it (lib/api/guest.ts), checked by hand: a schema library would cost more at each start of a
// sandbox than the rest of execd. All problems are told at once.

import type { BootFile } from '../lib/api/guest.ts'
import { isRecord } from '../lib/is-record.ts'
import { MAX_USER_ID } from './users.ts'

/** Reads a boot file. Throws with every problem found; the token is never part of a message. */
export function parseBootFile(text: string): BootFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new Error('The boot file is not valid JSON', { cause: error })
  }
  if (!isRecord(value)) throw new Error('The boot file must be a JSON object')
  const problems: string[] = []
  const check = (name: keyof BootFile, ok: boolean, allowed: string) => {
    if (!ok)
      problems.push(
        `"${name}" must be ${allowed}${name === 'token' ? '' : `: found ${JSON.stringify(value[name])?.slice(0, 100)}`}`,
      )
  }
  check('token', isText(value.token), 'a text that is not empty')
  check('host', isText(value.host), 'an address to listen on')
  check('port', isIntegerFrom(value.port, 0, 65535), 'an integer from 0 to 65535')
  check(
    'entrypoint',
    Array.isArray(value.entrypoint) &&
      value.entrypoint.every((item) => typeof item === 'string' && !item.includes('\0')) &&
      isText(value.entrypoint[0]),
    'a list of texts with a program as its first',
  )
  check('env', isRecord(value.env) && Object.values(value.env).every(isTextOrEmpty), 'an object of texts')
  check('workdir', isText(value.workdir) && String(value.workdir).startsWith('/'), 'an absolute path')
  for (const id of ['uid', 'gid'] as const)
    check(id, value[id] === undefined || isIntegerFrom(value[id], 0, MAX_USER_ID), 'a user or group number')
  check('user', value.user === undefined || isTextOrEmpty(value.user), 'a text')
  check('stopGraceMs', isIntegerFrom(value.stopGraceMs, 0, 3_600_000), 'an integer from 0 to 3600000')
  if (problems.length > 0) throw new Error(`The boot file is wrong: ${problems.join('; ')}`)
  return value as BootFile
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !value.includes('\0')
}

function isTextOrEmpty(value: unknown): boolean {
  return typeof value === 'string' && !value.includes('\0')
}

function isIntegerFrom(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}
