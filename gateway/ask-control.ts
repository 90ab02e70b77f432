// One question to control on the socket of the routes feed (lib/api/routes-feed.ts), with its whole answer.

import { request as httpRequest } from 'node:http'

/** More than any answer has. */
const MAX_ANSWER_CHARS = 1024 * 1024

export type Question = {
  socketPath: string
  method?: string
  path: string
  headers?: Record<string, string>
  body?: string
  signal: AbortSignal
}

/** Rejects with the signal's reason when that aborts. No connection is kept: questions are few, and control may be another one. */
export function askControl({
  socketPath,
  method = 'GET',
  path,
  headers,
  body,
  signal,
}: Question): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(signal.aborted ? signal.reason : error)
    const all = { host: 'localhost', ...headers }
    const request = httpRequest(
      { socketPath, method, path, headers: all, signal, agent: false },
      (answer) => {
        let text = ''
        answer
          .setEncoding('utf8')
          .on('data', (chunk: string) => {
            text += chunk
            if (text.length > MAX_ANSWER_CHARS) answer.destroy(new Error('The answer is too long'))
          })
          .on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
          .on('error', fail)
      },
    )
    request.on('error', fail)
    request.end(body)
  })
}
