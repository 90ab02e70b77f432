// Sending a file: whole, ranges of its bytes, or some of its lines (contract: execd.md 6.3). Everything is looked at before the
// first header goes out.

import { constants, type Stats } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { basename } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { decideCondition, rangeCounts, validatorsOf } from './condition.ts'
import { disposition } from './disposition.ts'
import { type LineWindow, readLines } from './lines.ts'
import { nativePath } from './name.ts'
import { type ByteRange, parseRanges } from './range.ts'
import { ByteSender } from './send.ts'

/** What is no larger is read before it is announced, because files of /proc and /sys do not know their size. */
const SMALL_BYTES = 64 << 10
/** How long a client may take nothing before it is given up. */
const IDLE_MS = 300_000
const CONTENT_TYPE = 'application/octet-stream'

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
    response.setTimeout(IDLE_MS)
    const download = { request, response, handle, path, stat }
    await (lines ? sendLines(download, lines) : sendBytes(download))
  } finally {
    await handle.close()
  }
}

type Download = {
  request: IncomingMessage
  response: ServerResponse
  handle: FileHandle
  path: string
  stat: Stats
}

/** Opens without waiting: the opening of a pipe would block until someone writes to it. */
async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(nativePath(path), constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENXIO' || code === 'ENODEV')
      throw execdError('INVALID_REQUEST_BODY', `Cannot download "${path}": it is not a regular file`, error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw execdError('FILE_NOT_FOUND', `There is no file "${path}"`, error)
    throw error
  }
}

async function sendBytes({ request, response, handle, path, stat }: Download): Promise<void> {
  const validators = validatorsOf(stat)
  const headers = {
    'Content-Type': CONTENT_TYPE,
    'Content-Disposition': disposition(basename(path)),
    'Accept-Ranges': 'bytes',
    'Last-Modified': validators.lastModified,
    ETag: validators.etag,
  }
  const decision = decideCondition(request.headers, validators)
  if (decision === 'failed')
    throw execdError('CONFLICT', `The file "${path}" is not what the request's condition expects`)
  if (decision === 'unchanged') {
    response.writeHead(304, headers)
    response.end()
    return
  }
  const head = stat.size <= SMALL_BYTES ? await readHead(handle) : undefined
  const isWhole = head !== undefined && head.length <= SMALL_BYTES
  if (head && !isWhole && stat.size === 0) {
    response.writeHead(200, headers)
    if (request.method === 'HEAD') response.end()
    else await new ByteSender(response, handle).sendRest(head)
    return
  }
  const size = isWhole ? head.length : stat.size
  // The method HEAD has no ranges (RFC 9110, 14.2).
  const isRanged = request.method === 'GET' && rangeCounts(request.headers, validators)
  const parts = requireRanges(isRanged ? request.headers.range : undefined, size, response)
  const sender = new ByteSender(response, handle, isWhole ? head : undefined)
  const [part] = parts ?? [{ start: 0, end: size - 1 }]
  if (parts && parts.length > 1) return await sendParts(response, sender, { parts, size, headers })
  const { start, end } = part as ByteRange
  response.writeHead(parts ? 206 : 200, {
    ...headers,
    'Content-Length': end - start + 1,
    ...(parts ? { 'Content-Range': `bytes ${start}-${end}/${size}` } : {}),
  })
  if (request.method === 'HEAD' || (await sender.send({ start, end }))) response.end()
}

/** The ranges that a header asks for; undefined when it is the whole file. Throws a refusal for any other header. */
function requireRanges(
  header: string | undefined,
  size: number,
  response: ServerResponse,
): ByteRange[] | undefined {
  const ranges = parseRanges(header, size)
  const shown = header?.slice(0, 100)
  if (ranges.kind === 'malformed')
    throw execdError('UNKNOWN', `The header Range is not one of bytes: "${shown}"`)
  if (ranges.kind === 'unsatisfiable') {
    response.setHeader('Content-Range', `bytes */${size}`)
    throw execdError('UNKNOWN', `The range "${shown}" lies behind the end: the size is ${size}`)
  }
  return ranges.kind === 'parts' ? ranges.parts : undefined
}

/** Several ranges, each with its own head (RFC 9110, 14.6). */
async function sendParts(
  response: ServerResponse,
  sender: ByteSender,
  { parts, size, headers }: { parts: ByteRange[]; size: number; headers: Record<string, string> },
): Promise<void> {
  const boundary = `execd${process.getBuiltinModule('node:crypto').randomUUID()}`
  const heads = parts.map(
    ({ start, end }) =>
      `\r\n--${boundary}\r\nContent-Type: ${CONTENT_TYPE}\r\nContent-Range: bytes ${start}-${end}/${size}\r\n\r\n`,
  )
  const tail = `\r\n--${boundary}--\r\n`
  response.writeHead(206, {
    ...headers,
    'Content-Type': `multipart/byteranges; boundary=${boundary}`,
    'Content-Length':
      parts.reduce((sum, { start, end }) => sum + end - start + 1, 0) + heads.join('').length + tail.length,
  })
  for (const [index, part] of parts.entries()) {
    response.write(heads[index])
    if (!(await sender.send(part))) return
  }
  response.end(tail)
}

async function sendLines({ request, response, handle }: Download, window: LineWindow): Promise<void> {
  response.setHeader('Content-Type', 'text/plain; charset=utf-8')
  const pieces = readLines(handle, window)
  const first = await pieces.next()
  if (first.done) {
    response.writeHead(200, { 'Content-Length': 0 })
    response.end()
    return
  }
  response.writeHead(200)
  if (request.method !== 'HEAD') {
    const sender = new ByteSender(response, handle)
    if (!(await sender.write(first.value))) return
    for await (const piece of pieces) if (!(await sender.write(piece))) return
  }
  response.end()
}

/** All of a small file; more than SMALL_BYTES of a larger one. */
async function readHead(handle: FileHandle): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(SMALL_BYTES + 1)
  let length = 0
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null)
    if (bytesRead === 0) break
    length += bytesRead
  }
  return buffer.subarray(0, length)
}
