// `GET /files/search` (contract: execd.md 6.4): files below a directory by their names, and as an addition by their content. Only
// what is found is asked for its size and owner: that takes several times as long as its name.

import type { Stats } from 'node:fs'
import { SEARCH_TYPES } from '../../lib/api/execd-files.ts'
import { execdError } from '../http/answer.ts'
import { ContentSearch, type Found } from './content.ts'
import { createGlob, GlobError } from './glob.ts'
import { booleanValue, integerValue } from './query.ts'
import type { Pace } from './turns.ts'
import { type EntryKind, statEntry, walk } from './walk.ts'

const MAX_CONTENT_CHARS = 500
const MAX_EXCLUDES = 32

export type SearchQuery = {
  matches(prefix: string, name: string): boolean
  isExcluded(name: string): boolean
  kinds: Set<EntryKind>
  content: { text: string; ignoreCase: boolean } | undefined
  limit: number
}

/** Reads what a search in `dir` is for. */
export function parseSearch(query: URLSearchParams, dir: string): SearchQuery {
  const pattern = query.get('pattern') || '**'
  const matchesName = globOf(pattern)
  const excluded = query.getAll('exclude').map(globOf)
  if (excluded.length > MAX_EXCLUDES)
    throw execdError('INVALID_REQUEST_BODY', `"exclude" must be given at most ${MAX_EXCLUDES} times`)
  const text = query.get('content') || undefined
  if (text !== undefined && (text.length > MAX_CONTENT_CHARS || /[\n\0]/.test(text)))
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"content" must be a part of one line, of at most ${MAX_CONTENT_CHARS} characters`,
    )
  const start = dir.endsWith('/') ? dir.length : dir.length + 1
  return {
    // A pattern without a slash is about names. With one it is about paths below `path`, where `**/` is any directories.
    matches: pattern.includes('/')
      ? (prefix, name) => matchesName(prefix.slice(start) + name)
      : (_prefix, name) => matchesName(name),
    isExcluded: (name) => excluded.some((matches) => matches(name)),
    kinds: text === undefined ? kindsOf(query) : new Set<EntryKind>(['file']),
    content: text === undefined ? undefined : { text, ignoreCase: booleanValue(query, 'ignore_case') },
    limit: integerValue(query, 'limit', 1) ?? Number.POSITIVE_INFINITY,
  }
}

export type SearchOptions = { pace: Pace; onUnreadable(path: string): void }

/** Calls `found` for each file that the search is for, in order, and waits where it answers with a promise. */
export async function searchFiles(
  dir: string,
  query: SearchQuery,
  { pace, onUnreadable }: SearchOptions,
  found: (path: string, stat: Stats, content: Found | undefined) => undefined | Promise<void>,
): Promise<void> {
  const contents = query.content && new ContentSearch(query.content.text, { ...query.content, pace })
  let count = 0
  const tell = (path: string, content: Found | undefined): boolean | Promise<boolean> => {
    const stat = statEntry(path)
    if (!stat) return true
    const isMore = ++count < query.limit
    return found(path, stat, content)?.then(() => isMore) ?? isMore
  }
  await walk(
    dir,
    {
      pace,
      onUnreadable,
      select: (prefix, name, kind) => {
        if (query.isExcluded(name)) return 'skip'
        return query.kinds.has(kind) && query.matches(prefix, name) ? 'visit' : 'enter'
      },
    },
    ({ path }) => {
      if (!contents) return tell(path, undefined)
      const content = contents.search(path)
      if (content instanceof Promise) return content.then((has) => (has ? tell(path, has) : true))
      return content ? tell(path, content) : true
    },
  )
}

function kindsOf(query: URLSearchParams): Set<EntryKind> {
  const wanted = query.getAll('type').flatMap((text) => text.split(','))
  if (wanted.length === 0) return new Set<EntryKind>(['file', 'symlink', 'other'])
  return new Set(
    wanted.map((text) => {
      const kind = SEARCH_TYPES.find((type) => type === text)
      if (kind) return kind
      throw execdError(
        'INVALID_REQUEST_BODY',
        `"type" must be one of ${SEARCH_TYPES.join(', ')}: found "${text.slice(0, 50)}"`,
      )
    }),
  )
}

function globOf(pattern: string): (name: string) => boolean {
  try {
    return createGlob(pattern)
  } catch (error) {
    if (error instanceof GlobError) throw execdError('INVALID_REQUEST_BODY', error.message, error)
    throw error
  }
}
