// DNS over TLS (RFC 7858): one connection to a server whose certificate is checked, kept while it is in use, with many questions on
// their way at once. What a server closes between two questions is opened again, once.

import { randomInt } from 'node:crypto'
import { isIP } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import type { NameServer } from '../../lib/name-server.ts'
import { firstFrame, frame } from './frame.ts'
import { formatQuestion, parseServerReply, type Question, type ServerReply } from './message.ts'
import type { Transport, Trust } from './transport.ts'

type Waiting = {
  question: Question & { id: number }
  resolve: (reply: ServerReply) => void
  reject: (error: Error) => void
}

const IDLE_MS = 20_000
/** More than are ever asked at once (upstream.ts), each of them twice. */
const MAX_WAITING = 2048

type Connection = { socket: TLSSocket; waiting: Map<number, Waiting>; hasAnswered: boolean }

export function openTlsTransport(
  { address, port, serverName }: NameServer & { serverName: string },
  { ca }: Trust,
): Transport {
  let current: Connection | undefined

  return {
    async ask(question, signal) {
      const isKept = current?.hasAnswered === true
      try {
        return await askOnce(question, signal)
      } catch (error) {
        // It may have been closed just as the question went out.
        if (!isKept || signal.aborted) throw error
        return await askOnce(question, signal)
      }
    },
    close: () => current?.socket.destroy(),
  }

  function askOnce(question: Question, signal: AbortSignal): Promise<ServerReply> {
    const connection = current ?? open()
    const { socket, waiting } = connection
    return new Promise((resolve, reject) => {
      if (signal.aborted || waiting.size >= MAX_WAITING) {
        reject(new Error(signal.aborted ? 'did not answer in time' : 'has too many questions to answer'))
        return
      }
      let id = randomInt(0x10000)
      while (waiting.has(id)) id = randomInt(0x10000)
      const asked = { ...question, id }
      const end = () => {
        signal.removeEventListener('abort', onAbort)
        waiting.delete(id)
      }
      const onAbort = () => {
        end()
        reject(new Error('did not answer in time by TLS'))
        // A server that has never answered on it is not there, whatever the connection says.
        if (!connection.hasAnswered) socket.destroy()
      }
      signal.addEventListener('abort', onAbort, { once: true })
      waiting.set(id, {
        question: asked,
        resolve: (reply) => {
          end()
          resolve(reply)
        },
        reject: (error) => {
          end()
          reject(error)
        },
      })
      socket.write(frame(formatQuestion(asked)))
    })
  }

  function open(): Connection {
    const socket = connect({
      host: address,
      port,
      ALPNProtocols: ['dot'],
      ...(isIP(serverName) === 0 && { servername: serverName }),
      ...(ca !== undefined && { ca }),
    })
    const connection: Connection = { socket, waiting: new Map(), hasAnswered: false }
    current = connection
    let received = Buffer.alloc(0)
    let problem = new Error('closed the connection without an answer')
    socket.setNoDelay(true)
    socket.setTimeout(IDLE_MS, () => socket.destroy())
    socket.on('error', (error) => {
      problem = error
    })
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      if (current === connection) current = undefined
      for (const { reject } of [...connection.waiting.values()]) reject(problem)
    })
    socket.on('data', (chunk) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      for (let message = firstFrame(received); message; message = firstFrame(received)) {
        received = received.subarray(2 + message.length)
        const waiting = message.length < 2 ? undefined : connection.waiting.get(message.readUInt16BE(0))
        const reply = waiting && parseServerReply(message, waiting.question)
        if (!reply) continue
        connection.hasAnswered = true
        waiting.resolve(reply)
      }
    })
    return connection
  }
}
