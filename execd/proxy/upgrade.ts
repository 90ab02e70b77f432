// WebSockets through the proxy: the request is handed on, and when the target changes the protocol the two sockets are joined.
// The bytes are nobody's business but the two ends'.

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Exchange } from '../http/router.ts'
import { answerBadGateway, answerWith, type Forwarder } from './forward.ts'
import { formatResponseHeaders } from './headers.ts'
import type { ProxyTarget } from './target.ts'

/** When one side is gone, so long may the other take what is still on its way to it. */
const LAST_BYTES_MS = 30_000

/** Connections that have become someone else's protocol; they are closed at the end. */
export type Joined = Set<Duplex & Closing>

/** Hands on a request to upgrade; an answer that is no upgrade reaches the client like any other. */
export function forwardUpgrade(
  { forwarder, joined }: { forwarder: Forwarder; joined: Joined },
  exchange: Exchange,
  target: ProxyTarget,
): void {
  const { request, response, upgrade } = exchange
  const protocol = request.headers.upgrade
  if (!upgrade || protocol === undefined) {
    answerBadGateway(response)
    return
  }
  if (request.socket.destroyed) return
  const upstream = forwarder.requestUpgrade(request, target, protocol)
  const cancel = () => upstream.destroy()
  request.socket.once('close', cancel)
  upstream.once('upgrade', (answer, socket, first) => {
    request.socket.off('close', cancel)
    const { socket: client, head } = upgrade.take()
    client.write(formatSwitch(answer), 'latin1')
    if (first.length > 0) client.write(first)
    if (head.length > 0) socket.write(head)
    join(client, socket)
    joined.add(client)
    client.once('close', () => joined.delete(client))
  })
  upstream.once('response', (answer) => answerWith(response, answer))
  upstream.on('error', () => {
    if (!response.headersSent && !request.socket.destroyed) answerBadGateway(response)
  })
  upstream.end()
}

function formatSwitch(answer: IncomingMessage): string {
  const headers = [
    ...formatResponseHeaders(answer.rawHeaders, 101),
    'Connection',
    'Upgrade',
    'Upgrade',
    answer.headers.upgrade ?? '',
  ]
  let text = `HTTP/1.1 101 ${answer.statusMessage}\r\n`
  for (let at = 0; at < headers.length; at += 2) text += `${headers[at]}: ${headers[at + 1]}\r\n`
  return `${text}\r\n`
}

/** Joins two sockets until both have said their last. Each is read only as fast as the other takes it. */
function join(one: Duplex & Closing, other: Duplex & Closing): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    // The close that follows does what is to be done.
    from.on('error', () => {})
    from.once('close', () => {
      to.setTimeout(LAST_BYTES_MS, () => to.destroy())
      to.destroySoon()
    })
    from.pipe(to)
  }
}

type Closing = { destroySoon(): void; setTimeout(ms: number, callback: () => void): unknown }
