// Where the body of a message ends (RFC 9112 6), from the fields that say it. Pure.

import { bad, type HeadProblem } from './fields.ts'

export type Framing =
  | { kind: 'none' }
  | { kind: 'length'; length: number }
  | { kind: 'chunked' }
  /** Only of an answer: the body ends with the connection. */
  | { kind: 'close' }

const NONE: Framing = { kind: 'none' }
const CHUNKED: Framing = { kind: 'chunked' }
const CLOSE: Framing = { kind: 'close' }
/** How a request's body is framed: by nothing that could be read in two ways. */
export function frameRequest(
  length: string | undefined,
  coding: string | undefined,
  minor: 0 | 1,
): Framing | HeadProblem {
  if (coding === undefined) return length === undefined ? NONE : readLength(length)
  if (length !== undefined) return bad('Content-Length and Transfer-Encoding must not come together')
  if (minor === 0) return bad('HTTP/1.0 has no Transfer-Encoding')
  if (coding.toLowerCase() !== 'chunked') return bad('Transfer-Encoding may only be chunked')
  return CHUNKED
}

/** How an answer's body is framed, which its status and the request's method decide first. */
export function frameResponse({
  status,
  method,
  length,
  coding,
  minor,
}: {
  status: number
  method: string
  length: string | undefined
  coding: string | undefined
  minor: 0 | 1
}): Framing | HeadProblem {
  if (coding !== undefined) {
    if (length !== undefined) return bad('Content-Length and Transfer-Encoding must not come together')
    if (minor === 0) return bad('HTTP/1.0 has no Transfer-Encoding')
    if (coding.toLowerCase() !== 'chunked') return bad('Transfer-Encoding may only be chunked')
  }
  const sized = length === undefined ? undefined : readLength(length)
  if (sized && 'problem' in sized) return sized
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD') return NONE
  return coding !== undefined ? CHUNKED : (sized ?? CLOSE)
}

function readLength(value: string): Framing | HeadProblem {
  if (!/^\d{1,16}$/.test(value)) return bad('Content-Length must be a whole number')
  const length = Number(value)
  return length <= Number.MAX_SAFE_INTEGER ? { kind: 'length', length } : bad('Content-Length is too large')
}

/** Whether no bytes of a body follow. */
export function isEmpty(framing: Framing): boolean {
  return framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0)
}
