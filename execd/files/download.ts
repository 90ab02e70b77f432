// Sending a file: whole, a range of its bytes, or some of its lines (contract: execd.md 6.3).

import { constants, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { parseRange } from './range.ts'

const CHUNK_BYTES = 256 << 10
/** Files of /proc say that they are empty; this much of one is read to see. */
const MAX_UNSIZED_BYTES = 4 << 20

export type LineWindow = { offset: number; limit: number }

/** Answers with the content of the file at `path`. */
export async function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  lines: LineWindow | undefined,
): Promise<void> {
  const handle = await openFile(path)
  try {
    const stat = await handle.stat()
    if (!stat.isFile())
      throw execdError(
        'INVALID_REQUEST_BODY',
        `Cannot download "${path}": it is ${stat.isDirectory() ? 'a directory' : 'not a regular file'}`,
      )
    if (lines) return await sendLines(response, handle, lines)
    await sendBytes(request, response, handle, path, stat)
  } finally {
    await handle.close()
  }
}

/** Opens without waiting: the opening of a pipe would block until someone writes to it. */
async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENXIO')
      throw execdError('INVALID_REQUEST_BODY', `Cannot download "${path}": it is not a regular file`, error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw execdError('FILE_NOT_FOUND', `There is no file "${path}"`, error)
    throw error
  }
}

async function sendBytes(
  request: IncomingMessage,
  response: ServerResponse,
  handle: FileHandle,
  path: string,
  stat: Stats,
): Promise<void> {
  const etag = `"${stat.ino.toString(36)}-${Math.round(stat.mtimeMs * 1000).toString(36)}-${stat.size.toString(36)}"`
  const headers = {
    'Content-Type': 'application/octet-stream',
    'Content-Disposition': disposition(basename(path)),
    'Accept-Ranges': 'bytes',
    'Last-Modified': stat.mtime.toUTCString(),
    ETag: etag,
  }
  if (isUnchanged(request, etag, stat)) {
    response.writeHead(304, headers)
    response.end()
    return
  }
  if (stat.size === 0) {
    const content = await readUnsized(handle)
    response.writeHead(200, { ...headers, 'Content-Length': content.length })
    response.end(content)
    return
  }
  const condition = request.headers['if-range']
  const isSameFile = condition === undefined || condition === etag || condition === headers['Last-Modified']
  const range = parseRange(isSameFile ? request.headers.range : undefined, stat.size)
  if (range.kind === 'malformed')
    throw execdError('UNKNOWN', `The header Range is not one of bytes: "${request.headers.range}"`)
  if (range.kind === 'unsatisfiable') {
    response.setHeader('Content-Range', `bytes */${stat.size}`)
    throw execdError(
      'UNKNOWN',
      `The range "${request.headers.range}" lies behind the end: the size is ${stat.size}`,
    )
  }
  const [start, end] = range.kind === 'part' ? [range.start, range.end] : [0, stat.size - 1]
  response.writeHead(range.kind === 'part' ? 206 : 200, {
    ...headers,
    'Content-Length': end - start + 1,
    ...(range.kind === 'part' ? { 'Content-Range': `bytes ${start}-${end}/${stat.size}` } : {}),
  })
  await copyBytes(handle, response, start, end)
}

/** Sends bytes through one buffer, which is free again when the socket has taken it: no garbage, however large the file. */
async function copyBytes(
  handle: FileHandle,
  response: ServerResponse,
  start: number,
  end: number,
): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, end - start + 1))
  for (let at = start; at <= end; ) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - at + 1), at)
    // The client has been promised more: a broken connection tells it, a short answer would not.
    if (bytesRead === 0) throw new Error('The file became shorter while it was sent')
    if (!(await send(response, buffer.subarray(0, bytesRead)))) return
    at += bytesRead
  }
  response.end()
}

/** Resolves when the bytes have left; false when the client has. */
function send(response: ServerResponse, bytes: Buffer): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false)
  return new Promise((resolve) => {
    const gone = () => resolve(false)
    response.once('close', gone)
    response.write(bytes, (error) => {
      response.off('close', gone)
      resolve(!error)
    })
  })
}

async function readUnsized(handle: FileHandle): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  while (bytes < MAX_UNSIZED_BYTES) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64 << 10), 0, 64 << 10, null)
    if (bytesRead === 0) break
    chunks.push(buffer.subarray(0, bytesRead))
    bytes += bytesRead
  }
  return Buffer.concat(chunks)
}

/** Lines joined by `\n`, without the `\r` before it and without a last one. */
async function sendLines(
  response: ServerResponse,
  handle: FileHandle,
  { offset, limit }: LineWindow,
): Promise<void> {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8')
  const wanted = async function* (): AsyncGenerator<string> {
    let number = 0
    let isFirst = true
    for await (const line of handle.readLines({ autoClose: false, encoding: 'utf8' })) {
      if (++number < offset) continue
      if (number >= offset + limit) return
      yield isFirst ? line : `\n${line}`
      isFirst = false
    }
  }
  const lines = wanted()
  const first = await lines.next()
  if (first.done) {
    response.writeHead(200, { 'Content-Length': 0 })
    response.end()
    return
  }
  response.writeHead(200)
  response.write(first.value)
  await pipeline(lines, response)
}

function isUnchanged(request: IncomingMessage, etag: string, stat: Stats): boolean {
  const tags = request.headers['if-none-match']
  if (tags !== undefined)
    return tags.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag)
  const since = Date.parse(request.headers['if-modified-since'] ?? '')
  return !Number.isNaN(since) && Math.floor(stat.mtimeMs / 1000) * 1000 <= since
}

function disposition(name: string): string {
  if (/^[\x20-\x7e]*$/.test(name)) return `attachment; filename="${name.replace(/(["\\])/g, '\\$1')}"`
  const encoded = encodeURIComponent(name.toWellFormed())
  return `attachment; filename="${encoded}"; filename*=UTF-8''${encoded}`
}
