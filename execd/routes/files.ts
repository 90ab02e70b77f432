// Files and directories (contract: execd.md 1.3, 6; v1.1.md 2.3), and what is added to them. What is seldom used is loaded at its
// first use.

import type { Stats } from 'node:fs'
import { lstat, stat } from 'node:fs/promises'
import type { FileDetails } from '../../lib/api/execd-files.ts'
import { ARCHIVE_FORMATS } from '../../lib/api/execd-files.ts'
import { systemCodeOf } from '../../lib/errors.ts'
import type { Family } from '../family.ts'
import { mapInBatches } from '../files/batches.ts'
import { makeDirectory, move, removeFile } from '../files/change.ts'
import { sendFile } from '../files/download.ts'
import { EventBursts } from '../files/event-bursts.ts'
import { hashFile } from '../files/expectation.ts'
import { neverAborted, whileWanted } from '../files/gone.ts'
import { createDescriber } from '../files/info.ts'
import { JsonList } from '../files/json-list.ts'
import type { LineWindow } from '../files/lines.ts'
import { nativePath } from '../files/name.ts'
import { type PathContext, resolvePath } from '../files/path.ts'
import { applyPermission, applyPermissionBelow, parsePermission } from '../files/permission.ts'
import { booleanValue, choiceValue, integerValue, pathValues } from '../files/query.ts'
import { removeTree } from '../files/remove.ts'
import { parseTextChanges, replaceTexts } from '../files/replace.ts'
import { parseSearch, searchFiles } from '../files/search.ts'
import { Pace, Turns } from '../files/turns.ts'
import { Unfinished } from '../files/unfinished.ts'
import { refuseInsideVital, refuseVitalPlace } from '../files/vital.ts'
import { statEntry, walk } from '../files/walk.ts'
import type { Watching } from '../files/watch.ts'
import { alone, createWriting, type Owner, type Writing } from '../files/write.ts'
import { answerEmpty, answerJson, execdError } from '../http/answer.ts'
import {
  asObject,
  checkText,
  field,
  OF_FILES,
  optionalBoolean,
  readJson,
  readObject,
  wrong,
} from '../http/body.ts'
import type { Exchange, Routes } from '../http/router.ts'
import type { Surroundings } from '../surroundings.ts'
import type { Users } from '../users.ts'

/** What an archive may unpack to, unless a client says otherwise. */
const MAX_UNPACKED_BYTES = 16 * 2 ** 30

export type FileRoutesOptions = {
  paths: PathContext
  users: Users
  /** Who owns what is made. */
  owner: Owner
  /** Directories that are never removed or replaced. */
  vital: string[]
  /** For who ends all this. */
  unfinished?: Unfinished
}

export function fileFamily({ paths, users, user, vital }: Surroundings): Family {
  const unfinished = new Unfinished()
  return {
    routes: fileRoutes({ paths, users, owner: user, vital, unfinished }),
    endAll: () => unfinished.removeAll(),
  }
}

export function fileRoutes({ paths, users, owner, vital, unfinished }: FileRoutesOptions): Routes {
  const writing: Writing = { ...createWriting({ owner, vital }), ...(unfinished ? { unfinished } : {}) }
  const turns = new Turns()
  const watching: Watching = { turns, bursts: new EventBursts(), streams: new Set() }
  const unhurried = () => new Pace(turns, neverAborted())
  const resolve = (path: string) => resolvePath(path, paths)
  const resolveToChange = async (path: string) => {
    const resolved = resolve(path)
    await refuseVitalPlace(resolved, vital)
    return resolved
  }
  const pathsOf = ({ query, request }: Exchange) => pathValues(query, 'path', request.url)
  const requirePath = (exchange: Exchange) => {
    const [path] = pathsOf(exchange)
    if (!path) throw execdError('MISSING_QUERY', 'The query needs "path"')
    return resolve(path)
  }
  const pathsToChange = (exchange: Exchange) => mapInBatches(pathsOf(exchange), unhurried(), resolveToChange)
  const readPermissions = async ({ request }: Exchange) =>
    mapInBatches(Object.entries(await readObject(request, OF_FILES)), unhurried(), ([path, value]) => {
      const item = asObject(value ?? {}, path)
      return {
        path: resolve(path),
        permission: parsePermission(item, path, users),
        isRecursive: optionalBoolean(item, 'recursive') ?? false,
      }
    })
  const download = async (exchange: Exchange) => {
    const { request, response, query } = exchange
    const path = requirePath(exchange)
    const lines = lineWindow(query)
    if (lines && request.headers.range !== undefined)
      throw execdError('INVALID_REQUEST_BODY', 'The header Range cannot go with "offset" or "limit"')
    await sendFile(request, response, path, lines)
  }

  return {
    'GET /files/info': (exchange) =>
      whileWanted(exchange.response, async (signal) => {
        const describe = createDescriber(users)
        const isHashed = choiceValue(exchange.query, 'hash', ['sha256']) !== undefined
        const found: [string, FileDetails][] = []
        for (const path of pathsOf(exchange)) {
          const resolved = resolve(path)
          const stat = await existing(resolved)
          const sha256 = isHashed && stat.isFile() ? await hashFile(resolved, signal) : undefined
          found.push([path.toWellFormed(), { ...describe(resolved, stat), ...(sha256 ? { sha256 } : {}) }])
        }
        answerJson(exchange.response, 200, Object.fromEntries(found))
      }),

    'DELETE /files': async (exchange) => {
      const found = await pathsToChange(exchange)
      for (const path of found) await removeFile(path)
      answerEmpty(exchange.response)
    },

    'POST /files/mv': async ({ request, response }) => {
      const moves = await readJson(request, OF_FILES)
      if (!Array.isArray(moves)) throw wrong('The body', 'a list of {src, dest}', moves)
      const wanted = await mapInBatches(moves, unhurried(), async (item: unknown, index) => {
        const body = asObject(item, `[${index}]`)
        const path = (name: string) => {
          const value = checkText(field(body, name) ?? '', `[${index}].${name}`)
          if (value === '') throw execdError('INVALID_REQUEST_BODY', `"[${index}].${name}" must be a path`)
          return resolveToChange(value)
        }
        return {
          source: await path('src'),
          destination: await path('dest'),
          overwrite: optionalBoolean(body, 'overwrite') ?? false,
        }
      })
      for (const one of wanted) {
        await existing(one.source)
        await move(one, owner, unhurried())
      }
      answerEmpty(response)
    },

    'POST /files/permissions': async (exchange) => {
      const wanted = await readPermissions(exchange)
      const stats: Stats[] = []
      for (const { path } of wanted) stats.push(await existing(path))
      for (const [index, { path, permission, isRecursive }] of wanted.entries()) {
        if (isRecursive && stats[index]?.isDirectory()) {
          await refuseVitalPlace(path, vital)
          await applyPermissionBelow(path, permission, unhurried())
        } else await applyPermission(path, permission)
      }
      answerEmpty(exchange.response)
    },

    'GET /files/search': (exchange) =>
      whileWanted(exchange.response, async (signal) => {
        const dir = requirePath(exchange)
        const search = parseSearch(exchange.query, dir)
        await requireDirectory(dir)
        const list = new JsonList(exchange.response)
        const describe = createDescriber(users)
        await searchFiles(
          dir,
          search,
          { pace: new Pace(turns, signal), onUnreadable: list.addUnreadable },
          (path, stat, content) =>
            list.add(content ? { ...describe(path, stat), ...content } : describe(path, stat)),
        )
        list.end()
      }),

    'POST /files/replace': async ({ request, response, query }) => {
      const changes = await parseTextChanges(await readObject(request, OF_FILES), resolve, unhurried())
      for (const { path } of changes) await existing(path)
      // One after the other: each must see what the one before has made of a file.
      const counts = await alone(writing.busy, 'replace', () => replaceTexts(changes, writing, unhurried()))
      if (query.get('verbose') === 'true') answerJson(response, 200, counts)
      else answerEmpty(response)
    },

    'POST /files/upload': async ({ request, response }) => {
      const { receiveUpload } = await import('../files/upload.ts')
      await receiveUpload(request, { resolve, users, writing })
      answerEmpty(response)
    },

    'GET /files/download': download,
    'HEAD /files/download': download,

    'GET /files/watch': async (exchange) => {
      const dir = requirePath(exchange)
      const isRecursive = booleanValue(exchange.query, 'recursive')
      await existing(dir)
      const { streamChanges } = await import('../files/watch.ts')
      await streamChanges(exchange.response, dir, { isRecursive, watching })
    },

    'GET /directories/list': (exchange) =>
      whileWanted(exchange.response, async (signal) => {
        const dir = requirePath(exchange)
        const maxDepth = integerValue(exchange.query, 'depth', 0) ?? 1
        if ((await existing(dir)).isSymbolicLink())
          throw execdError('INVALID_REQUEST_BODY', '"path" is a symbolic link')
        await requireDirectory(dir)
        const list = new JsonList(exchange.response)
        const describe = createDescriber(users)
        const pace = new Pace(turns, signal)
        await walk(dir, { maxDepth, pace, onUnreadable: list.addUnreadable }, ({ path }) => {
          const stat = statEntry(path)
          return (stat && list.add(describe(path, stat))?.then(() => true)) ?? true
        })
        list.end()
      }),

    'POST /directories': async (exchange) => {
      const wanted = await readPermissions(exchange)
      const pace = unhurried()
      for (const { path, permission } of wanted) {
        if (pace.isDue) await pace.rest()
        await makeDirectory(path, owner, permission)
      }
      answerEmpty(exchange.response)
    },

    'DELETE /directories': async (exchange) => {
      const found = await pathsToChange(exchange)
      for (const path of found) await removeTree(path, unhurried())
      answerEmpty(exchange.response)
    },

    'GET /directories/archive': async (exchange) => {
      const dir = requirePath(exchange)
      const format = choiceValue(exchange.query, 'format', ARCHIVE_FORMATS) ?? 'tar.gz'
      await requireDirectory(dir)
      const { sendArchive } = await import('../files/archive/pack.ts')
      await whileWanted(exchange.response, (signal) =>
        sendArchive(exchange.response, dir, { format, users, pace: new Pace(turns, signal) }),
      )
    },

    'POST /directories/archive': async (exchange) => {
      const dir = requirePath(exchange)
      await refuseInsideVital(dir, vital)
      const format = choiceValue(exchange.query, 'format', ARCHIVE_FORMATS)
      const keepLinks = choiceValue(exchange.query, 'links', ['refuse', 'keep']) === 'keep'
      const maxBytes = integerValue(exchange.query, 'max_bytes', 1) ?? MAX_UNPACKED_BYTES
      const { receiveArchive } = await import('../files/archive/unpack.ts')
      await receiveArchive(exchange.request, dir, { format, keepLinks, maxBytes, writing, turns })
      answerEmpty(exchange.response)
    },
  }
}

async function existing(path: string, isFollowed = false): Promise<Stats> {
  try {
    return await (isFollowed ? stat : lstat)(nativePath(path))
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw execdError('FILE_NOT_FOUND', `There is no file or directory "${path}"`, error)
    throw error
  }
}

async function requireDirectory(path: string): Promise<void> {
  const found = await existing(path)
  if (!(found.isSymbolicLink() ? await existing(path, true) : found).isDirectory())
    throw execdError('INVALID_REQUEST_BODY', `"${path}" is not a directory`)
}

function lineWindow(query: URLSearchParams): LineWindow | undefined {
  const offset = integerValue(query, 'offset', 1)
  const limit = integerValue(query, 'limit', 1)
  if (offset === undefined && limit === undefined) return undefined
  return { offset: offset ?? 1, limit: limit ?? Number.POSITIVE_INFINITY }
}
