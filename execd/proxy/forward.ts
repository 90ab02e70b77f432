// Handing a request on to a program of the sandbox, and its answer back, as both come: bytes are passed on at once and only as
// fast as the other side takes them. There is no deadline for an answer, as a program may think for as long as its client
// waits; a client that leaves takes the request with it.

import { Agent, type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { pipeline, Transform } from 'node:stream'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { answerText } from '../http/answer.ts'
import { formatRequestHeaders, formatResponseHeaders, formatTrailers, hasBody } from './headers.ts'
import type { ProxyTarget } from './target.ts'

const HOST = '127.0.0.1'
/** On the loopback a connection is made at once, or the program does not take it. */
const CONNECT_TIMEOUT_MS = 5000
/** Less than the five seconds after which most servers close a quiet connection. */
const IDLE_TIMEOUT_MS = 4000
const MAX_IDLE = 64
const MAX_HEADER_BYTES = 256 << 10
/** May be sent a second time: they change nothing, and have no body that would be gone. */
const REPEATABLE = ['GET', 'HEAD', 'OPTIONS', 'TRACE']

export type Forwarder = {
  /** Answers `response` with what the target says to `incoming`. */
  forward(incoming: IncomingMessage, response: ServerResponse, target: ProxyTarget): void
  /** Asks the target to change the protocol. */
  requestUpgrade(incoming: IncomingMessage, target: ProxyTarget, upgrade: string): ClientRequest
  close(): void
}

export function createForwarder(log: Logger): Forwarder {
  const kept = new Agent({ keepAlive: true, maxFreeSockets: MAX_IDLE, timeout: IDLE_TIMEOUT_MS })

  const send = (
    incoming: IncomingMessage,
    target: ProxyTarget,
    options: { agent: Agent | false; upgrade?: string },
  ): ClientRequest => {
    const { method = 'GET', rawHeaders } = incoming
    const upstream = request({
      host: HOST,
      port: target.port,
      method,
      path: target.path,
      headers: formatRequestHeaders({
        raw: rawHeaders,
        method,
        peer: incoming.socket.remoteAddress ?? HOST,
        port: target.port,
        isOwn: target.port === incoming.socket.localPort,
        ...(options.upgrade === undefined ? {} : { upgrade: options.upgrade }),
      }),
      agent: options.agent,
      maxHeaderSize: MAX_HEADER_BYTES,
    })
    upstream.once('socket', limitConnect)
    return upstream
  }

  return {
    forward(incoming, response, target) {
      // The client may have left before this was its turn; nothing would tell us any more.
      if (response.destroyed) return
      const withBody = hasBody(incoming.rawHeaders)
      const isRepeatable = !withBody && REPEATABLE.includes(incoming.method ?? '')
      let upstream: ClientRequest
      const attempt = (agent: Agent | false) => {
        const tried = send(incoming, target, { agent })
        upstream = tried
        let isOver = false
        const fail = (error?: unknown) => {
          incoming.unpipe()
          // What the target does not want any more is read all the same, or the client would never hear the answer.
          incoming.resume()
          if (isOver) return
          isOver = true
          // The target has closed a kept connection just when it was used again.
          if (tried.reusedSocket && isRepeatable && !response.destroyed) attempt(false)
          else {
            log.debug('nothing answers behind the proxy', { port: target.port, error: messageOf(error) })
            answerBadGateway(response)
          }
        }
        tried.on('information', ({ statusCode, headers }) => {
          // 100 was between the client and us.
          if (statusCode === 102) response.writeProcessing()
          if (statusCode === 103) writeEarlyHints(response, headers)
        })
        tried.once('response', (answer) => {
          isOver = true
          answerWith(response, answer)
        })
        tried.on('error', fail)
        // Without an error, such as after a change of the protocol that nobody asked for.
        tried.once('close', fail)
        if (!withBody) tried.end()
        else {
          incoming.once('end', () => addTrailers(tried, incoming))
          incoming.pipe(afterReading()).pipe(tried)
        }
      }
      // A request that cannot be repeated does not take a kept connection, which may be closed under it.
      attempt(isRepeatable ? kept : false)
      incoming.once('close', () => {
        if (!incoming.complete) upstream.destroy()
      })
      response.once('close', () => {
        if (!response.writableFinished) upstream.destroy()
      })
    },
    requestUpgrade: (incoming, target, upgrade) => send(incoming, target, { agent: false, upgrade }),
    close: () => kept.destroy(),
  }
}

/** What a client hears when the target does not answer. */
export function answerBadGateway(response: ServerResponse): void {
  if (response.headersSent) response.destroy()
  else if (!response.destroyed) answerText(response, 502, 'Bad Gateway')
}

/** Hands on an answer. One that breaks off breaks off for the client as well, so that nobody takes half for all. */
export function answerWith(response: ServerResponse, answer: IncomingMessage): void {
  const { statusCode = 502, statusMessage = '', rawHeaders } = answer
  try {
    // Node reads any byte in a reason and writes but some of them.
    const reason = statusMessage.replace(/[^\t\x20-\x7e\x80-\xff]/g, '')
    response.writeHead(statusCode, reason, formatResponseHeaders(rawHeaders, statusCode))
  } catch {
    // A status that Node reads and does not write, such as 0. What it has taken of the head is not for our own answer.
    response.statusMessage = ''
    for (const name of response.getHeaderNames()) if (name !== 'x-request-id') response.removeHeader(name)
    answer.destroy()
    answerBadGateway(response)
    return
  }
  // The head of a stream does not wait for its first bytes; that of an answer goes together with them.
  setImmediate(() => {
    if (!response.destroyed && !response.writableEnded) response.flushHeaders()
  })
  answer.once('end', () => addTrailers(response, answer))
  pipeline(answer, response, () => {})
}

/**
 * Passes bytes on after whatever can be read at this moment has been read. A program that refuses an upload may answer and
 * close at once, and the first write after that loses the answer, unless it was read before. Nothing makes that certain, but so
 * the answer is mostly there, and without it mostly not.
 */
function afterReading(): Transform {
  return new Transform({
    transform: (chunk, _encoding, done) => {
      setImmediate(done, null, chunk)
    },
  })
}

function addTrailers(to: ClientRequest | ServerResponse, { rawTrailers }: IncomingMessage): void {
  const trailers = formatTrailers(rawTrailers)
  if (trailers.length > 0) to.addTrailers(trailers)
}

function writeEarlyHints(response: ServerResponse, { link, ...others }: IncomingMessage['headers']): void {
  if (response.headersSent || link === undefined) return
  try {
    response.writeEarlyHints({ ...(others as Record<string, string | string[]>), link })
  } catch {
    // A link that Node does not take for one. It was a hint; the answer itself follows.
  }
}

function limitConnect(socket: Socket): void {
  if (!socket.connecting) return
  const timer = setTimeout(
    () => socket.destroy(new Error(`No connection within ${CONNECT_TIMEOUT_MS} ms`)),
    CONNECT_TIMEOUT_MS,
  )
  const stop = () => clearTimeout(timer)
  socket.once('connect', stop).once('close', stop)
}
