// Finding and reading the next request's head in what has come of a connection. Pure.

import type { HeadProblem } from '../../lib/http1/fields.ts'
import { checkUnfinishedHead, findHeadEnd, parseRequestHead, type RequestHead } from './head.ts'

export type NextHead =
  /** Nothing has come of it. */
  | { kind: 'none' }
  /** Its end has not come. */
  | { kind: 'unfinished' }
  | ({ kind: 'bad' } & HeadProblem)
  /** `end` is where in the bytes it does. */
  | { kind: 'head'; head: RequestHead; end: number }

const NONE: NextHead = { kind: 'none' }
const UNFINISHED: NextHead = { kind: 'unfinished' }
const CR = 13
const LF = 10

/** Of the first `scanned` bytes it is known that no head ends in them. */
export function readNextHead(bytes: Buffer, scanned: number): NextHead {
  const start = skipEmptyLines(bytes)
  if (start === bytes.length) return NONE
  const end = findHeadEnd(bytes, Math.max(start, scanned - 3))
  if (end < 0) {
    const problem = checkUnfinishedHead(
      start === 0 ? bytes : bytes.subarray(start),
      Math.max(0, scanned - start),
    )
    return problem ? { kind: 'bad', ...problem } : UNFINISHED
  }
  const head = parseRequestHead(bytes.toString('latin1', start, end))
  return 'problem' in head ? { kind: 'bad', ...head } : { kind: 'head', head, end }
}

/** A server should overlook an empty line before a request (RFC 9112 2.2); two, and no more. */
function skipEmptyLines(bytes: Buffer): number {
  let at = 0
  while (at < 4 && bytes[at] === CR && bytes[at + 1] === LF) at += 2
  return at
}
