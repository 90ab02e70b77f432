// One request and its answer between a client and a sandbox, on Node's own streams. Both ends may vanish at any moment: what has not
// begun to be answered gets a refusal, what has is broken off, so that nobody takes half for all.

import {
  type ClientRequest,
  type IncomingMessage,
  type InformationEvent,
  request,
  type ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import type { RouteTarget } from '../../lib/api/routes-feed.ts'
import type { InnerLocation } from '../../lib/forwarding.ts'
import {
  formatAnswerFields,
  formatLines,
  formatRequestFields,
  formatTrailers,
  hasField,
  type RawFields,
  type RequestPassage,
} from './proxy-fields.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** Until an answer begins. What flows may be silent for as long as both sides want, such as events. */
const SILENCE_TIMEOUT_MS = 180_000
/** When one side of a tunnel has ended, so long may the other be silent. */
const HALF_CLOSED_TIMEOUT_MS = 5 * 60_000

export type Relay = {
  incoming: IncomingMessage
  target: RouteTarget
  /** Raw path and query, as the sandbox sees them. */
  path: string
  passage: RequestPassage
  /** Fields of answers beside the sandbox's own. */
  extra: RawFields
  /** Is given what leads to the sandbox. */
  onSocket: (socket: Socket) => void
  /** Is told why, when nothing has been answered. */
  refuse: (error: unknown) => void
}

/** Relays a request that has a response of Node's. */
export function relayRequest(relay: Relay, outgoing: ServerResponse): void {
  const { incoming, passage, extra, refuse } = relay
  const asked = ask(relay)
  let answer: IncomingMessage | undefined
  let hasFailed = false
  const fail = (error: unknown) => {
    if (hasFailed) return
    hasFailed = true
    asked.destroy()
    if (!outgoing.headersSent) refuse(error)
    else if (!outgoing.writableEnded) breakOff(outgoing, answer)
  }
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) asked.destroy()
  })
  asked.on('information', (interim) => passInterim(interim, outgoing, locationOf(passage)))
  asked.once('response', (came) => {
    answer = came
    const { statusCode = 502, statusMessage = '', rawHeaders } = came
    outgoing.sendDate = false
    const location = locationOf(passage)
    outgoing.writeHead(
      statusCode,
      statusMessage,
      formatAnswerFields(rawHeaders, { status: statusCode, location, extra }),
    )
    // What follows a head may come much later, and may be long in coming.
    outgoing.flushHeaders()
    came.once('error', fail)
    came.once('end', () => {
      const trailers = formatTrailers(came.rawTrailers)
      if (trailers.length > 0) outgoing.addTrailers(trailers)
    })
    came.pipe(outgoing)
  })
  // Once an answer has begun its own end tells how it was.
  asked.on('error', (error) => {
    if (!answer) fail(error)
  })
  asked.once('close', () => {
    if (!answer) fail(unaskedProtocol())
  })
  incoming.once('error', () => asked.destroy())
  if (!hasBody(incoming)) asked.end()
  else {
    incoming.once('end', () => {
      const trailers = formatTrailers(incoming.rawTrailers)
      if (trailers.length > 0) asked.addTrailers(trailers)
    })
    incoming.pipe(asked)
  }
}

/** Relays a request that asks for another protocol, of which `head` has come already; `wanted` is empty for one that stays HTTP. */
export function relayUpgrade(relay: Relay, wanted: string, client: Socket, head: Buffer): void {
  const { passage, extra, refuse } = relay
  const location = locationOf(passage)
  const asked = ask(relay, wanted)
  let isOver = false
  const fail = (error: unknown) => {
    if (isOver) return
    isOver = true
    refuse(error)
  }
  const leave = () => void asked.destroy()
  client.once('close', leave)
  asked.once('upgrade', (answer, sandbox, first) => {
    const given = answer.headers.upgrade?.trim()
    if (given === undefined || !listOf(wanted).includes(given.toLowerCase())) {
      sandbox.destroy()
      fail(unaskedProtocol())
      return
    }
    isOver = true
    client.off('close', leave)
    const fields = formatAnswerFields(answer.rawHeaders, { status: 101, location })
    client.write(
      `HTTP/1.1 101 ${answer.statusMessage}\r\n${formatLines(fields)}Connection: Upgrade\r\nUpgrade: ${given}\r\n\r\n`,
      'latin1',
    )
    if (first.length > 0) client.write(first)
    if (head.length > 0) sandbox.write(head)
    sandbox.setTimeout(0)
    join(client, sandbox)
  })
  asked.once('response', (answer) => {
    isOver = true
    const { statusCode = 502, statusMessage = '', rawHeaders } = answer
    const lines = formatLines(formatAnswerFields(rawHeaders, { status: statusCode, location, extra }))
    client.write(`HTTP/1.1 ${statusCode} ${statusMessage}\r\n${lines}Connection: close\r\n\r\n`, 'latin1')
    answer.once('error', () => client.resetAndDestroy())
    answer.pipe(client)
  })
  asked.on('error', fail)
  asked.once('close', () => fail(unaskedProtocol()))
  asked.end()
}

function ask({ incoming, target, path, passage, onSocket }: Relay, upgrade = ''): ClientRequest {
  const asked = request({
    ...('socketPath' in target
      ? { socketPath: target.socketPath }
      : { host: target.host, port: target.port }),
    method: incoming.method,
    path,
    headers: formatRequestFields(incoming.rawHeaders, passage, upgrade),
    agent: false,
  })
  const connecting = setTimeout(() => asked.destroy(timeoutOf('ECONNECT_TIMEOUT')), CONNECT_TIMEOUT_MS)
  asked.once('close', () => clearTimeout(connecting))
  asked.once('socket', (socket) => {
    onSocket(socket)
    socket.once('connect', () => {
      clearTimeout(connecting)
      socket.setNoDelay(true).setKeepAlive(true)
    })
  })
  asked.setTimeout(SILENCE_TIMEOUT_MS, () => asked.destroy(timeoutOf('ETIMEDOUT')))
  asked.once('response', () => asked.setTimeout(0))
  return asked
}

function unaskedProtocol(): Error {
  return Object.assign(new Error('The sandbox switches to a protocol that nobody asked for'), {
    code: 'EPROTO',
  })
}

function timeoutOf(code: string): Error {
  return Object.assign(new Error('The sandbox was silent for too long'), { code })
}

function locationOf({ inner, outer, prefix, client }: RequestPassage): InnerLocation {
  return { inner, outer, prefix, isEncrypted: client.isEncrypted }
}

/** 100, 102 and 103, for a client that knows of them and whose turn it is. */
function passInterim(interim: InformationEvent, outgoing: ServerResponse, location: InnerLocation): void {
  if (outgoing.headersSent || outgoing.req.httpVersion !== '1.1') return
  const { statusCode, statusMessage, rawHeaders } = interim
  const fields = formatAnswerFields(rawHeaders, { status: statusCode, location })
  outgoing.socket?.write(`HTTP/1.1 ${statusCode} ${statusMessage}\r\n${formatLines(fields)}\r\n`, 'latin1')
}

/** Ends what cannot be completed. Where only the end of the connection tells where the answer ends, it must be no good end. */
function breakOff(outgoing: ServerResponse, answer: IncomingMessage | undefined): void {
  const isTold = outgoing.chunkedEncoding || answer?.headers['content-length'] !== undefined
  if (isTold || !outgoing.socket) outgoing.destroy()
  else outgoing.socket.resetAndDestroy()
}

function join(client: Socket, sandbox: Socket): void {
  for (const [one, other] of [
    [client, sandbox],
    [sandbox, client],
  ] as const) {
    one.on('error', () => other.destroy())
    one.once('end', () => other.setTimeout(HALF_CLOSED_TIMEOUT_MS, () => other.destroy()))
    one.once('close', () => (one.readableEnded ? other.end() : other.destroy()))
    one.pipe(other)
  }
}

function hasBody({ rawHeaders }: IncomingMessage): boolean {
  return hasField(rawHeaders, 'content-length') || hasField(rawHeaders, 'transfer-encoding')
}

function listOf(value: string): string[] {
  return value.split(',').map((each) => each.trim().toLowerCase())
}
