// What happens to a connection before its first request: who it is from is read, when a balancer before the gateway says so; how many that
// client has is counted; TLS is spoken, and in it is agreed whether HTTP/1.1 or HTTP/2 follows. Each of these has its time.

import type { Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import type { AddressRanges, Origin } from '../../lib/hops.ts'
import type { Logger } from '../../lib/log.ts'
import { REFUSED } from '../decision/refusal.ts'
import { STREAM_BUFFER_BYTES } from '../relay/upstream.ts'
import type { Certificates } from './certificates.ts'
import { ClientCounts } from './client-counts.ts'
import { parseProxyHeader } from './proxy-protocol.ts'

export type FrontOptions = {
  /** Whose forwarding headers are believed. */
  trustedProxies: AddressRanges
  /** Whose connections begin with the PROXY protocol. */
  proxyProtocol: AddressRanges
  maxConnections: number
  maxPerClient: number
  /** For what comes before a request. */
  helloTimeoutMs: number
  certificates?: Certificates
  log: Logger
  /** Is told of what is refused because there is too much: of one client, or of all together. */
  onCrowd?: (limit: CrowdedLimit, address: string) => void
  serveHttp1(socket: Socket, origin: Origin): void
  serveHttp2(socket: Socket, origin: Origin): void
}

export const CROWDED_LIMITS = ['client', 'process'] as const
export type CrowdedLimit = (typeof CROWDED_LIMITS)[number]

const { code, message } = REFUSED.tooManyConnections()
const BUSY_BODY = JSON.stringify({ code, message })
const BUSY = `HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: ${BUSY_BODY.length}\r\n\r\n${BUSY_BODY}`
const ALPN = ['h2', 'http/1.1']

export class Front {
  readonly #options: FrontOptions
  readonly #counts: ClientCounts
  /** Those that have not come to a request yet. */
  readonly #early = new Set<Socket>()
  /** Who speaks TLS, by address and port. */
  readonly #handshakes = new Map<string, { origin: Origin; finish: () => void }>()
  #tls: { revision: number; server: TlsServer } | undefined
  #open = 0

  constructor(options: FrontOptions) {
    this.#options = options
    this.#counts = new ClientCounts(options.maxPerClient)
  }

  accept(socket: Socket, isTls: boolean): void {
    const { maxConnections, proxyProtocol } = this.#options
    const address = addressOf(socket)
    if (this.#open >= maxConnections) {
      this.#options.onCrowd?.('process', address)
      socket.destroy()
      return
    }
    this.#open++
    socket.once('close', () => this.#open--)
    if (proxyProtocol.has(address)) this.#readProxyHeader(socket, address, isTls)
    else this.#admit(socket, address, address, isTls)
  }

  /**
   * One more place for a client that has a connection already, as a stream of HTTP/2 takes one: what gives it back, or undefined when
   * there is none.
   */
  takePlace({ address, isUncounted }: Origin): (() => void) | undefined {
    const { maxConnections, onCrowd } = this.#options
    if (this.#open >= maxConnections) {
      onCrowd?.('process', address)
      return undefined
    }
    const giveBack = isUncounted ? () => {} : this.#counts.take(address)
    if (!giveBack) {
      onCrowd?.('client', address)
      return undefined
    }
    this.#open++
    return () => {
      this.#open--
      giveBack()
    }
  }

  /** Cuts what has not come to a request. */
  stop(): void {
    for (const socket of this.#early) socket.destroy()
  }

  /** `hop` is who the connection is really from, which decides whether its requests are believed. */
  #admit(socket: Socket, address: string, hop: string, isTls: boolean): void {
    const { trustedProxies, serveHttp1 } = this.#options
    const isTrusted = trustedProxies.has(hop)
    // A hop has the connections of all its clients.
    const isUncounted = isTrusted && address === hop
    const giveBack = isUncounted ? () => {} : this.#counts.take(address)
    if (!giveBack) {
      this.#options.onCrowd?.('client', address)
      if (isTls) socket.destroy()
      else socket.on('error', () => {}).end(BUSY, () => socket.destroy())
      return
    }
    socket.once('close', giveBack)
    const origin = {
      address,
      isEncrypted: isTls,
      isTrusted,
      ...(isUncounted && { isUncounted: true as const }),
    }
    if (isTls) this.#secure(socket, origin)
    else serveHttp1(socket, origin)
  }

  #readProxyHeader(socket: Socket, hop: string, isTls: boolean): void {
    let bytes: Buffer = Buffer.alloc(0)
    const finish = this.#await(socket, 'the PROXY protocol')
    const onData = (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      const header = parseProxyHeader(bytes)
      if (header.kind === 'more') return
      socket.off('data', onData)
      if (header.kind === 'bad') {
        this.#options.log.debug('a connection is refused', { client: hop, reason: header.problem })
        socket.destroy()
        return
      }
      finish()
      socket.pause()
      if (bytes.length > header.length) socket.unshift(bytes.subarray(header.length))
      this.#admit(socket, header.address ?? hop, hop, isTls)
      if (!isTls) socket.resume()
    }
    socket.on('data', onData)
  }

  #secure(socket: Socket, origin: Origin): void {
    const { certificates } = this.#options
    if (!certificates) {
      socket.destroy()
      return
    }
    const name = nameOfPeer(socket)
    const finish = this.#await(socket, 'TLS')
    this.#handshakes.set(name, { origin, finish })
    socket.once('close', () => this.#handshakes.delete(name))
    if (!this.#tls || this.#tls.revision !== certificates.revision)
      this.#tls = { revision: certificates.revision, server: this.#createTls(certificates) }
    this.#tls.server.emit('connection', socket)
  }

  /** It never listens: connections are handed to it. Another one is made when other certificates are shown. */
  #createTls(certificates: Certificates): TlsServer {
    const { serveHttp1, serveHttp2, log, helloTimeoutMs } = this.#options
    const { first } = certificates
    return createTlsServer({
      ...(first && { key: first.key, cert: first.certificate }),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ALPN,
      SNICallback: (name, answer) => answer(null, certificates.contextFor(name)),
      handshakeTimeout: helloTimeoutMs,
      allowHalfOpen: true,
      highWaterMark: STREAM_BUFFER_BYTES,
    })
      .on('tlsClientError', (error, { remoteAddress }) =>
        log.debug('a connection is refused', { client: remoteAddress, reason: error.message }),
      )
      .on('secureConnection', (secure) => {
        const handshake = this.#handshakes.get(nameOfPeer(secure))
        if (!handshake) {
          secure.destroy()
          return
        }
        handshake.finish()
        secure.disableRenegotiation()
        if (secure.alpnProtocol === 'h2') serveHttp2(secure, handshake.origin)
        else serveHttp1(secure, handshake.origin)
      })
  }

  /** Ends a connection that does not come to its first request; the returned function says that it has. */
  #await(socket: Socket, what: string): () => void {
    const { helloTimeoutMs, log } = this.#options
    const timer = setTimeout(() => {
      log.debug('a connection is refused', {
        client: addressOf(socket),
        reason: `${what} did not come in time`,
      })
      socket.destroy()
    }, helloTimeoutMs)
    const onError = () => {}
    const finish = () => {
      clearTimeout(timer)
      this.#early.delete(socket)
    }
    this.#early.add(socket)
    // The close that follows does what is to be done.
    socket.on('error', onError).once('close', finish)
    return finish
  }
}

function nameOfPeer({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

/** The other side's address; an IPv4 address that came to an IPv6 socket is written as what it is. */
function addressOf({ remoteAddress = 'unknown' }: Socket): string {
  return remoteAddress.startsWith('::ffff:') && remoteAddress.includes('.')
    ? remoteAddress.slice(7)
    : remoteAddress
}
