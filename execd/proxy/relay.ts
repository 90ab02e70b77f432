// Handing a request to a process of execd's own, which answers it as another user or among the files of a session, and its answer
// back, as both come.

import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { EXECD_TOKEN_HEADER } from '../../lib/api/execd.ts'
import { answerWith } from './forward.ts'
import { formatRequestHeaders } from './headers.ts'

export type RelayOptions = {
  /** The path and query that the process knows the request by. */
  path: string
  /** A connection to the process, for this request alone. */
  socket: Socket
  /** What the process knows us by. */
  token: string
  /** The refusal for a client that has heard nothing yet when the process fails. */
  refuse(cause: unknown): Error
}

/** Resolves when the answer is over, or nobody waits for it any more. Rejects with a refusal when there is none. */
export function relay(
  incoming: IncomingMessage,
  response: ServerResponse,
  { path, socket, token, refuse }: RelayOptions,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', rawHeaders } = incoming
    const requestId = response.getHeader('X-Request-ID')
    const upstream = request({
      createConnection: () => socket,
      method,
      path,
      headers: [
        ...formatRequestHeaders({ raw: rawHeaders, method, peer: '127.0.0.1', port: 80, isOwn: false }),
        EXECD_TOKEN_HEADER,
        token,
        ...(typeof requestId === 'string' ? ['X-Request-ID', requestId] : []),
      ],
    })
    // The process may answer before it has read everything; a client may hear nothing before it has sent everything.
    const takeRest = () => {
      incoming.unpipe(upstream)
      incoming.resume()
    }
    const fail = (error: unknown) => {
      takeRest()
      if (response.headersSent || response.destroyed) resolve()
      else reject(refuse(error))
    }
    upstream.once('response', (answer) => {
      answer.once('error', fail)
      answerWith(response, answer)
    })
    upstream.once('error', fail)
    response.once('close', () => {
      takeRest()
      upstream.destroy()
      resolve()
    })
    incoming.pipe(upstream)
  })
}
