// Listens for questions by UDP and TCP on one address. Who asks is the source address, and answering is somebody else's.

import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer, isIPv6, type Server, type Socket } from 'node:net'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import { Lanes } from '../../lib/lanes.ts'
import type { Logger } from '../../lib/log.ts'
import type { Answerer } from './answer.ts'

export type DnsServerOptions = {
  address: string
  /** Wanted; another free one is taken when a program listens there on all addresses. */
  port: number
  answer: Answerer
  log: Logger
  signal: AbortSignal
}

export type DnsServer = { port: number; closed: Promise<void> }

const TCP_IDLE_MS = 10_000
const MAX_TCP = 4096
const MAX_TCP_PER_SOURCE = 32
/** Questions of one connection that may wait for their answers. */
const MAX_PIPELINED = 16
const PORT_TRIES = 10

/** Resolves once both listen on the same port. */
export async function openDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const { address, signal } = options
  const { tcp, udp, port } = await bindBoth(options)
  udp.on('message', (message, from) => {
    void respond(options, message, from.address, 'udp').then((reply) => {
      if (reply && !signal.aborted) udp.send(reply, from.port, from.address, () => {})
    })
  })
  // A client that has gone (ECONNREFUSED by ICMP) is no reason to stop serving the others.
  udp.on('error', (error) => options.log.warn('DNS by UDP', { error: messageOf(error) }))
  serveTcp(tcp, options)
  const closed = Promise.all([
    new Promise<void>((resolve) => tcp.once('close', () => resolve())),
    new Promise<void>((resolve) => udp.once('close', () => resolve())),
  ]).then(() => {})
  const stop = () => {
    tcp.close()
    udp.close()
  }
  if (signal.aborted) stop()
  else signal.addEventListener('abort', stop, { once: true })
  options.log.debug('DNS listens', { address, port })
  return { port, closed }
}

async function respond(
  { answer, log }: DnsServerOptions,
  message: Buffer,
  source: string,
  transport: 'udp' | 'tcp',
): Promise<Buffer | undefined> {
  try {
    return await answer(message, source, transport)
  } catch (error) {
    // A bug must not end the server for all sandboxes; without an answer, the asker is closed.
    log.error('cannot answer a question', { source, error: messageOf(error) })
    return undefined
  }
}

function serveTcp(server: Server, options: DnsServerOptions): void {
  const bySource = new Lanes(MAX_TCP, { each: MAX_TCP_PER_SOURCE })
  server.on('connection', (socket) => {
    const source = socket.remoteAddress ?? ''
    if (!bySource.isOpenTo(source)) {
      socket.destroy()
      return
    }
    socket.once('close', bySource.take(source))
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy())
    // The client's end of a connection is not news.
    socket.on('error', () => {})
    const stop = () => socket.destroy()
    options.signal.addEventListener('abort', stop, { once: true })
    socket.once('close', () => options.signal.removeEventListener('abort', stop))
    readMessages(socket, source, options)
  })
}

function readMessages(socket: Socket, source: string, options: DnsServerOptions): void {
  let received = Buffer.alloc(0)
  let waiting = 0
  const take = () => {
    while (waiting < MAX_PIPELINED && received.length >= 2) {
      const length = received.readUInt16BE(0)
      if (received.length < 2 + length) break
      const message = Buffer.from(received.subarray(2, 2 + length))
      received = received.subarray(2 + length)
      waiting++
      void respond(options, message, source, 'tcp').then((reply) => {
        waiting--
        if (socket.destroyed) return
        if (!reply) {
          socket.destroy()
          return
        }
        const prefix = Buffer.alloc(2)
        prefix.writeUInt16BE(reply.length)
        socket.write(Buffer.concat([prefix, reply]))
        take()
      })
    }
    // What waits in the socket stays there until answers have gone out.
    if (waiting >= MAX_PIPELINED) socket.pause()
    else socket.resume()
  }
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk])
    take()
  })
}

async function bindBoth({
  address,
  port,
}: DnsServerOptions): Promise<{ tcp: Server; udp: UdpSocket; port: number }> {
  let wanted = port
  for (let attempt = 0; ; attempt++) {
    const tcp = createServer()
    const udp = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
    try {
      await new Promise<void>((resolve, reject) => {
        tcp.once('error', reject)
        tcp.listen({ host: address, port: wanted }, () => {
          tcp.off('error', reject)
          resolve()
        })
      })
      const bound = tcp.address()
      const chosen = typeof bound === 'object' && bound ? bound.port : wanted
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject)
        udp.bind({ address, port: chosen }, () => {
          udp.off('error', reject)
          resolve()
        })
      })
      return { tcp, udp, port: chosen }
    } catch (error) {
      tcp.close()
      udp.close()
      // nft leads port 53 here whatever the number is, so another resolver on all addresses is not in the way.
      if (systemCodeOf(error) !== 'EADDRINUSE' || attempt >= PORT_TRIES)
        throw new Error(`Cannot listen for DNS on ${address} port ${wanted}: ${messageOf(error)}`, {
          cause: error,
        })
      wanted = 0
    }
  }
}
