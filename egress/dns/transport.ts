// How one name server is asked. In the clear, every question has its own socket, so that its port and its id are both random; by TLS
// and by HTTPS one connection is kept and questions share it.

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { connect, isIPv6 } from 'node:net'
import type { DnsUpstream, NameServer } from '../../lib/name-server.ts'
import { firstFrame, frame } from './frame.ts'
import { openHttpsTransport } from './https-transport.ts'
import { formatQuestion, parseServerReply, type Question, type ServerReply } from './message.ts'
import { openTlsTransport } from './tls-transport.ts'

export type Transport = {
  /** Rejects when there is no answer to this very question, or when the signal aborts. */
  ask(question: Question, signal: AbortSignal): Promise<ServerReply>
  close(): void
}

/** What a certificate is checked against, when not by the roots of this machine. */
export type Trust = { ca?: string }

export function openTransport(server: DnsUpstream, trust: Trust = {}): Transport {
  if (server.by === 'tls') return openTlsTransport(server, trust)
  if (server.by === 'https') return openHttpsTransport(server.url, trust)
  return {
    async ask(question, signal) {
      const byUdp = await askUdp(server, question, signal)
      return byUdp.truncated ? askTcp(server, question, signal) : byUdp
    },
    close: () => {},
  }
}

function askUdp(server: NameServer, question: Question, signal: AbortSignal): Promise<ServerReply> {
  const asked = { ...question, id: randomInt(0x10000) }
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(server.address) ? 'udp6' : 'udp4')
    let isOver = false
    const end = (settle: () => void) => {
      if (isOver) return
      isOver = true
      signal.removeEventListener('abort', onAbort)
      socket.close()
      settle()
    }
    const onAbort = () => end(() => reject(new Error('did not answer in time')))
    socket.once('error', (error) => end(() => reject(error)))
    socket.on('message', (message, from) => {
      if (from.address !== server.address || from.port !== server.port) return
      const reply = parseServerReply(message, asked)
      if (reply) end(() => resolve(reply))
    })
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    socket.send(formatQuestion(asked), server.port, server.address, (error) => {
      if (error) end(() => reject(error))
    })
  })
}

function askTcp(server: NameServer, question: Question, signal: AbortSignal): Promise<ServerReply> {
  const asked = { ...question, id: randomInt(0x10000) }
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server.address, port: server.port })
    let received = Buffer.alloc(0)
    const end = (settle: () => void) => {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      settle()
    }
    const onAbort = () => end(() => reject(new Error('did not answer in time by TCP')))
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    socket.on('error', (error) => end(() => reject(error)))
    socket.once('end', () => end(() => reject(new Error('closed the TCP connection without an answer'))))
    socket.once('connect', () => socket.write(frame(formatQuestion(asked))))
    socket.on('data', (chunk) => {
      // A length of two bytes bounds what can pile up here.
      received = Buffer.concat([received, chunk])
      const message = firstFrame(received)
      if (!message) return
      const reply = parseServerReply(message, asked)
      end(() =>
        reply ? resolve(reply) : reject(new Error('gave an answer by TCP that is not to the question')),
      )
    })
  })
}
