// Answers in the forms that every published client understands (contract: execd.md 0.4): an empty success says
// `Content-Length: 0`, an error is never empty.

import type { ServerResponse } from 'node:http'
import { EXECD_ERRORS, type ExecdErrorCode } from '../../lib/api/execd.ts'
import { ApiError } from '../../lib/errors.ts'

/** An error for the caller; the status follows from the code. */
export function execdError(code: ExecdErrorCode, message: string, cause?: unknown): ApiError {
  return new ApiError(EXECD_ERRORS[code], code, message, cause === undefined ? {} : { cause })
}

export function answerEmpty(response: ServerResponse): void {
  response.writeHead(200, { 'Content-Length': 0 })
  response.end()
}

export function answerJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value))
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': body.length,
  })
  response.end(body)
}

export function answerText(response: ServerResponse, status: number, text: string): void {
  const body = Buffer.from(text)
  response.writeHead(status, { 'Content-Type': 'text/plain; charset=utf-8', 'Content-Length': body.length })
  response.end(body)
}

/** Resolves when the client has taken what was sent, or has left. */
export function untilDrained(response: ServerResponse): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}
