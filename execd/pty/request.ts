// What a client may ask of terminals (contract: execd.md 5.1, 5.2), checked field by field.

import type { PtyMode } from '../../lib/api/execd-pty.ts'
import { parseArgv, parseEnvs } from '../command/request.ts'
import { execdError } from '../http/answer.ts'
import { type Body, field, optionalInteger, optionalText, wrong } from '../http/body.ts'
import { MAX_USER_ID } from '../users.ts'
import { MAX_SIZE } from './frames.ts'
import type { TerminalSize } from './native.ts'

/** What fits into one argument of a program (Linux: 128 KiB). */
const MAX_COMMAND_BYTES = 120_000
const DEFAULT_SIZE: TerminalSize = { cols: 80, rows: 24 }

export type PtyRequest = {
  cwd?: string
  run: { shell?: string; line?: string } | { argv: string[] }
  size: TerminalSize
  envs: Record<string, string>
  uid?: number
  gid?: number
}

export type ConnectRequest = {
  /** From where on to replay. */
  since: number
  /** For a program that is to be started. */
  mode: PtyMode
  isTakeover: boolean
  isViewer: boolean
}

/** Reads the body of `POST /pty`. Throws a refusal that names the field. */
export function parsePtyRequest(body: Body): PtyRequest {
  const cwd = optionalText(body, 'cwd')
  const uid = optionalInteger(body, 'uid', MAX_USER_ID)
  const gid = optionalInteger(body, 'gid', MAX_USER_ID)
  if (gid !== undefined && uid === undefined)
    throw execdError('INVALID_REQUEST_BODY', '"gid" needs "uid" beside it')
  return {
    run: parseRun(body),
    size: {
      cols: sizeOf(body, 'cols') ?? DEFAULT_SIZE.cols,
      rows: sizeOf(body, 'rows') ?? DEFAULT_SIZE.rows,
    },
    envs: parseEnvs(field(body, 'envs') ?? field(body, 'env')),
    ...(cwd ? { cwd } : {}),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  }
}

/** Reads the query of `GET /pty/{id}/ws`. */
export function parseConnectRequest(query: URLSearchParams): ConnectRequest {
  const since = query.get('since') || '0'
  if (!/^-?\d{1,15}$/.test(since))
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"since" must be an integer, an offset in bytes: found "${since.slice(0, 50)}"`,
    )
  return {
    since: Math.max(0, Number(since)),
    mode: query.get('pty') === '0' ? 'pipe' : 'pty',
    isTakeover: query.get('takeover') === '1',
    isViewer: query.get('view') === '1',
  }
}

function parseRun(body: Body): PtyRequest['run'] {
  const line = optionalText(body, 'command')
  const shell = optionalText(body, 'shell')
  const argv = parseArgv(field(body, 'argv'))
  if (argv) {
    if (line || shell) throw execdError('INVALID_REQUEST_BODY', '"argv" excludes "command" and "shell"')
    return { argv }
  }
  const bytes = Buffer.byteLength(line ?? '')
  if (bytes > MAX_COMMAND_BYTES)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"command" must have at most ${MAX_COMMAND_BYTES} bytes: found ${bytes}`,
    )
  return { ...(line ? { line } : {}), ...(shell ? { shell } : {}) }
}

function sizeOf(body: Body, name: 'cols' | 'rows'): number | undefined {
  const value = optionalInteger(body, name)
  if (value !== undefined && (value < 1 || value > MAX_SIZE))
    throw wrong(name, `an integer from 1 to ${MAX_SIZE}`, value)
  return value
}
