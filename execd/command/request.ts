// What a client may ask to run (contract: execd.md 3.1, v1.1.md 2.1), checked field by field.

import { execdError } from '../http/answer.ts'
import {
  asObject,
  type Body,
  checkText,
  field,
  optionalBoolean,
  optionalInteger,
  optionalText,
  wrong,
} from '../http/body.ts'
import { MAX_USER_ID } from '../users.ts'

/** Each process is given all of them, and each takes its time. */
const MAX_ENVS = 5000

export type CommandRequest = {
  /** A line for the shell, or a program with its arguments. */
  run: { line: string } | { argv: string[] }
  cwd?: string
  background: boolean
  /** Absent: no limit. */
  timeoutMs?: number
  uid?: number
  gid?: number
  envs: Record<string, string>
}

/** Reads the body of `POST /command`. Throws a refusal that names the field. */
export function parseCommandRequest(body: Body): CommandRequest {
  const line = optionalText(body, 'command')
  const argv = parseArgv(field(body, 'argv'))
  if ((line === undefined || line === '') === (argv === undefined))
    throw execdError('INVALID_REQUEST_BODY', 'Exactly one of "command" (not empty) and "argv" is needed')
  const cwd = optionalText(body, 'cwd')
  const timeoutMs = optionalInteger(body, 'timeout')
  const uid = optionalInteger(body, 'uid', MAX_USER_ID)
  const gid = optionalInteger(body, 'gid', MAX_USER_ID)
  if (gid !== undefined && uid === undefined)
    throw execdError('INVALID_REQUEST_BODY', '"gid" needs "uid" beside it')
  return {
    run: argv ? { argv } : { line: line ?? '' },
    background: optionalBoolean(body, 'background') ?? false,
    envs: parseEnvs(field(body, 'envs')),
    ...(cwd ? { cwd } : {}),
    ...(timeoutMs ? { timeoutMs } : {}),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  }
}

export function parseArgv(value: unknown): string[] | undefined {
  if (value === undefined) return undefined
  if (!Array.isArray(value)) throw wrong('argv', 'a list of texts', value)
  const argv = value.map((item, index) => checkText(item, `argv[${index}]`))
  if (!argv[0]) throw execdError('INVALID_REQUEST_BODY', '"argv[0]" must name a program')
  return argv
}

/** Reads a table of environment variables; one that is null is left out. */
export function parseEnvs(value: unknown): Record<string, string> {
  const envs: Record<string, string> = {}
  if (value === undefined) return envs
  const given = Object.entries(asObject(value, 'envs'))
  if (given.length > MAX_ENVS)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"envs" may have ${MAX_ENVS} variables at most: found ${given.length}`,
    )
  for (const [name, text] of given) {
    if (name === '' || name.includes('=') || name.includes('\0'))
      throw execdError('INVALID_REQUEST_BODY', `"envs" has a name that no variable can have: "${name}"`)
    if (text !== null) envs[name] = checkText(text, `envs.${name}`)
  }
  return envs
}
