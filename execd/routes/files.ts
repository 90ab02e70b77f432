// Files and directories (contract: execd.md 1.3, 6). What is seldom used is loaded at its first use.

import { lstat, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { relative } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { FileInfo } from '../../lib/api/execd.ts'
import { systemCodeOf } from '../../lib/errors.ts'
import type { Family } from '../app.ts'
import { makeDirectory, move, type Owner, removeFile, replaceInFile } from '../files/change.ts'
import { type LineWindow, sendFile } from '../files/download.ts'
import { createGlob, GlobError } from '../files/glob.ts'
import { describeFile } from '../files/info.ts'
import { type PathContext, refuseVital, resolvePath } from '../files/path.ts'
import { applyPermission, parsePermission } from '../files/permission.ts'
import { walk } from '../files/walk.ts'
import { answerEmpty, answerJson, execdError } from '../http/answer.ts'
import { asObject, checkText, field, readJson, readObject, wrong } from '../http/body.ts'
import type { Routes } from '../http/router.ts'
import type { Surroundings } from '../surroundings.ts'
import type { Users } from '../users.ts'

const JSON_PIECE_CHARS = 64 << 10

export type FileRoutesOptions = {
  paths: PathContext
  users: Users
  /** Who owns what is made. */
  owner: Owner
  /** Directories that are never removed or replaced. */
  vital: string[]
}

export function fileFamily({ paths, users, user, vital }: Surroundings): Family {
  return { routes: fileRoutes({ paths, users, owner: user, vital }) }
}

export function fileRoutes({ paths, users, owner, vital }: FileRoutesOptions): Routes {
  const resolve = (path: string) => resolvePath(path, paths)
  const resolveToChange = (path: string) => {
    const resolved = resolve(path)
    refuseVital(resolved, vital)
    return resolved
  }
  const requirePath = (query: URLSearchParams) => {
    const path = query.get('path')
    if (!path) throw execdError('MISSING_QUERY', 'The query needs "path"')
    return resolve(path)
  }

  return {
    'GET /files/info': async ({ response, query }) => {
      const found: Record<string, FileInfo> = {}
      for (const path of query.getAll('path')) {
        const resolved = resolve(path)
        found[path] = describeFile(resolved, await existing(resolved), users)
      }
      answerJson(response, 200, found)
    },

    'DELETE /files': async ({ response, query }) => {
      for (const path of query.getAll('path').map(resolveToChange)) await removeFile(path)
      answerEmpty(response)
    },

    'POST /files/mv': async ({ request, response }) => {
      const moves = await readJson(request)
      if (!Array.isArray(moves)) throw wrong('The body', 'a list of {src, dest}', moves)
      const pairs = moves.map((item, index) => {
        const body = asObject(item, `[${index}]`)
        const path = (name: string) =>
          resolveToChange(checkText(field(body, name) ?? '', `[${index}].${name}`))
        return { source: path('src'), destination: path('dest') }
      })
      for (const { source, destination } of pairs) {
        await existing(source)
        await move(source, destination, owner)
      }
      answerEmpty(response)
    },

    'POST /files/permissions': async ({ request, response }) => {
      const body = await readObject(request)
      const wanted = Object.entries(body).map(([path, value]) => ({
        path: resolve(path),
        permission: parsePermission(asObject(value ?? {}, path), path, users),
      }))
      for (const { path } of wanted) await existing(path)
      for (const { path, permission } of wanted) await applyPermission(path, permission)
      answerEmpty(response)
    },

    'GET /files/search': async ({ response, query }) => {
      const dir = requirePath(query)
      const pattern = query.get('pattern') || '**'
      const matches = globOf(pattern)
      // A pattern without a slash is about names. With one it is about paths below `path`, where `**/` is any directories.
      const byName = !pattern.includes('/')
      await requireDirectory(dir)
      const found = async function* () {
        for await (const { path, stat } of walk(dir, Number.POSITIVE_INFINITY)) {
          if (stat.isDirectory()) continue
          const name = byName ? path.slice(path.lastIndexOf('/') + 1) : relative(dir, path)
          if (matches(name)) yield describeFile(path, stat, users)
        }
      }
      await answerList(response, found())
    },

    'POST /files/replace': async ({ request, response, query }) => {
      const body = await readObject(request)
      const wanted = Object.entries(body).map(([key, value]) => {
        const item = asObject(value, key)
        const search = checkReplaceText(field(item, 'old'), `${key}: old`)
        if (search === '') throw execdError('INVALID_REQUEST_BODY', `${key}: "old" must not be empty`)
        const replacement = checkReplaceText(field(item, 'new') ?? '', `${key}: new`)
        return { key, path: resolveToChange(key), search, replacement }
      })
      for (const { path } of wanted) await existing(path)
      const counts: Record<string, { replacedCount: number }> = {}
      for (const { key, path, search, replacement } of wanted)
        counts[key] = { replacedCount: await replaceInFile(path, search, replacement) }
      if (query.get('verbose') === 'true') answerJson(response, 200, counts)
      else answerEmpty(response)
    },

    'POST /files/upload': async ({ request, response }) => {
      const { receiveUpload } = await import('../files/upload.ts')
      await receiveUpload(request, { paths, users, owner, vital })
      answerEmpty(response)
    },

    'GET /files/download': async ({ request, response, query }) => {
      const path = requirePath(query)
      const lines = lineWindow(query)
      if (lines && request.headers.range !== undefined)
        throw execdError('INVALID_REQUEST_BODY', 'The header Range cannot go with "offset" or "limit"')
      await sendFile(request, response, path, lines)
    },

    'GET /directories/list': async ({ response, query }) => {
      const dir = requirePath(query)
      const depth = numberOf(query, 'depth', 0) ?? 1
      if ((await existing(dir)).isSymbolicLink())
        throw execdError('INVALID_REQUEST_BODY', '"path" is a symbolic link')
      await requireDirectory(dir)
      const found = async function* () {
        for await (const { path, stat } of walk(dir, depth)) yield describeFile(path, stat, users)
      }
      await answerList(response, found())
    },

    'POST /directories': async ({ request, response }) => {
      const body = await readObject(request)
      const wanted = Object.entries(body).map(([path, value]) => ({
        path: resolve(path),
        permission: parsePermission(asObject(value ?? {}, path), path, users),
      }))
      for (const { path, permission } of wanted) await makeDirectory(path, owner, permission)
      answerEmpty(response)
    },

    'DELETE /directories': async ({ response, query }) => {
      for (const path of query.getAll('path').map(resolveToChange))
        await rm(path, { recursive: true, force: true })
      answerEmpty(response)
    },
  }
}

async function existing(path: string) {
  try {
    return await lstat(path)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw execdError('FILE_NOT_FOUND', `There is no file or directory "${path}"`, error)
    throw error
  }
}

async function requireDirectory(path: string): Promise<void> {
  const stat = await existing(path)
  if (!stat.isDirectory() && !stat.isSymbolicLink())
    throw execdError('INVALID_REQUEST_BODY', `"${path}" is not a directory`)
}

function globOf(pattern: string): (name: string) => boolean {
  try {
    return createGlob(pattern)
  } catch (error) {
    if (error instanceof GlobError) throw execdError('INVALID_REQUEST_BODY', error.message, error)
    throw error
  }
}

function checkReplaceText(value: unknown, name: string): string {
  if (typeof value !== 'string') throw wrong(name, 'a text', value)
  return value
}

function lineWindow(query: URLSearchParams): LineWindow | undefined {
  const offset = numberOf(query, 'offset', 1)
  const limit = numberOf(query, 'limit', 1)
  if (offset === undefined && limit === undefined) return undefined
  return { offset: offset ?? 1, limit: limit ?? Number.POSITIVE_INFINITY }
}

function numberOf(query: URLSearchParams, name: string, min: number): number | undefined {
  const text = query.get(name)
  if (text === null || text === '') return undefined
  const value = /^\d{1,15}$/.test(text) ? Number(text) : -1
  if (value < min)
    throw execdError(
      'INVALID_REQUEST_BODY',
      `"${name}" must be an integer from ${min} on: found "${text.slice(0, 50)}"`,
    )
  return value
}

/** A JSON list, sent as it is found, so that a large tree is never held in memory. */
async function answerList(response: ServerResponse, items: AsyncIterable<FileInfo>): Promise<void> {
  const pieces = async function* () {
    let piece = '['
    let isFirst = true
    for await (const item of items) {
      piece += (isFirst ? '' : ',') + JSON.stringify(item)
      isFirst = false
      if (piece.length < JSON_PIECE_CHARS) continue
      yield piece
      piece = ''
    }
    yield `${piece}]`
  }
  response.writeHead(200, { 'Content-Type': 'application/json; charset=utf-8' })
  await pipeline(pieces(), response)
}
