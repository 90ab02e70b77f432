// Reads a request's body as text, within a bound.

import { ApiError } from '../../lib/errors.ts'

export const MAX_BODY_BYTES = 1024 * 1024

/** The body as text; 413 when it is longer than egress takes. */
export async function readBody(request: Request): Promise<string> {
  const tooLarge = () =>
    new ApiError(413, 'BODY_TOO_LARGE', `The body must have at most ${MAX_BODY_BYTES} bytes`)
  if (Number(request.headers.get('Content-Length') ?? 0) > MAX_BODY_BYTES) throw tooLarge()
  if (!request.body) return ''
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body) {
    size += chunk.byteLength
    if (size > MAX_BODY_BYTES) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
