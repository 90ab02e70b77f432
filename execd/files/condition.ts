// Conditional requests for a file (RFC 9110, 13): answered from what the file is now, before anything of it is sent.

import type { Stats } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'

/** What tells one state of a file from another. */
export type Validators = { etag: string; lastModified: string }

export function validatorsOf(stat: Stats): Validators {
  const parts = [stat.ino, Math.round(stat.mtimeMs * 1000), stat.size]
  return {
    etag: `"${parts.map((part) => part.toString(36)).join('-')}"`,
    lastModified: stat.mtime.toUTCString(),
  }
}

/** Whether to send the file, or what to say instead (RFC 9110, 13.2.2). */
export function decideCondition(
  headers: IncomingHttpHeaders,
  { etag, lastModified }: Validators,
): 'send' | 'unchanged' | 'failed' {
  const modified = Date.parse(lastModified)
  const match = headers['if-match']
  const unmodifiedSince = Date.parse(headers['if-unmodified-since'] ?? '')
  if (match !== undefined) {
    if (!hasTag(match, etag)) return 'failed'
  } else if (modified > unmodifiedSince) return 'failed'
  const noneMatch = headers['if-none-match']
  if (noneMatch !== undefined) return hasTag(noneMatch.replaceAll('W/', ''), etag) ? 'unchanged' : 'send'
  return modified <= Date.parse(headers['if-modified-since'] ?? '') ? 'unchanged' : 'send'
}

/** Whether a Range header counts: its If-Range must name this very state of the file. */
export function rangeCounts(headers: IncomingHttpHeaders, { etag, lastModified }: Validators): boolean {
  const condition = headers['if-range']
  return condition === undefined || condition === etag || condition === lastModified
}

function hasTag(list: string, etag: string): boolean {
  return list.split(',').some((tag) => tag.trim() === '*' || tag.trim() === etag)
}
