// The wire of files beyond the protocol's own (execd.ts has that): all of it are additions, which older clients ignore. Plain
// types: what a request must be is checked where it is read (execd/files/).

import type { FileInfo } from './execd.ts'

/** What stands beside the protocol's own keys. */
export type FileDetails = FileInfo & {
  uid: number
  gid: number
  /** Of a link: where it points, as it stands there. */
  target?: string
  /** Like `mode`, with setuid, setgid and sticky; only where one of them is set. */
  full_mode?: number
  /** The exact bytes of the path, in base64; only where they are not UTF-8, and `path` cannot say it. */
  path_base64?: string
  /** Of a regular file, when asked with `hash=sha256`. */
  sha256?: string
}

/** `GET /files/search?content=`: a file that has the text. */
export type FoundFile = FileDetails & {
  /** Lines that have the text, from 1 on; absent from a binary file. */
  matches?: FoundLine[]
  /** There are more lines than were listed. */
  truncated?: true
  binary?: true
}
export type FoundLine = { line: number; text: string }

/** What a search may be narrowed to by `type`. */
export const SEARCH_TYPES = ['file', 'directory', 'symlink', 'other'] as const

export const ARCHIVE_FORMATS = ['tar', 'tar.gz', 'zip'] as const
export type ArchiveFormat = (typeof ARCHIVE_FORMATS)[number]

/** One event of `GET /files/watch`, a `data:` line of server-sent events. */
export type WatchEvent =
  /** The first: from here on nothing is missed, unless `overflow` says so. */
  | { type: 'watching'; path: string; recursive: boolean }
  /** Something new stands there, also in the place of something else. */
  | { type: 'created'; path: string; path_base64?: string; file_type: FileInfo['type'] }
  /** Its content, mode or owner has changed. */
  | { type: 'modified'; path: string; path_base64?: string }
  | { type: 'removed'; path: string; path_base64?: string }
  /** More happened than could be told: who mirrors a tree must read it again. */
  | { type: 'overflow' }
  /** The last, should the stream end by itself. */
  | { type: 'end'; reason: string }
