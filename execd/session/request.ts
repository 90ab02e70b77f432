// What clients may ask of sessions (contract: execd.md 4), checked field by field.

import { execdError } from '../http/answer.ts'
import { type Body, optionalInteger, optionalText } from '../http/body.ts'

export type SessionRequest = { cwd?: string }

export type SessionRunRequest = {
  code: string
  cwd?: string
  /** Absent: the longest that any run may take. */
  timeoutMs?: number
}

/** Reads the body of `POST /session`. Throws a refusal that names the field. */
export function parseSessionRequest(body: Body): SessionRequest {
  const cwd = optionalText(body, 'cwd')
  return cwd ? { cwd } : {}
}

/** Reads the body of `POST /session/{id}/run`. Throws a refusal that names the field. */
export function parseSessionRunRequest(body: Body): SessionRunRequest {
  const code = optionalText(body, 'command')
  if (!code) throw execdError('INVALID_REQUEST_BODY', '"command" must be a text that is not empty')
  const cwd = optionalText(body, 'cwd')
  const timeoutMs = optionalInteger(body, 'timeout')
  return { code, ...(cwd ? { cwd } : {}), ...(timeoutMs ? { timeoutMs } : {}) }
}
