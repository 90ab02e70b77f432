// DNS over HTTPS (RFC 8484): questions as POST requests of one HTTP/2 connection to a server whose certificate is checked. The id is
// zero, as the RFC has it; the connection tells the answers apart. The server's own name is resolved by this machine. Servers take some
// hundred questions of one connection at once: when more wait for answers, there is another one, so that none waits behind them.

import { type ClientHttp2Session, connect, constants } from 'node:http2'
import { formatQuestion, parseServerReply, type Question, type ServerReply } from './message.ts'
import type { Transport, Trust } from './transport.ts'

const IDLE_MS = 30_000
const MAX_BYTES = 65_535
/** RFC 9113 advises servers to take at least 100. */
const MAX_STREAMS = 90
const TYPE = 'application/dns-message'

type Connection = { session: ClientHttp2Session; streams: number }

export function openHttpsTransport(url: string, { ca }: Trust): Transport {
  const { origin, pathname } = new URL(url)
  const connections = new Set<Connection>()

  return {
    async ask(question, signal) {
      const kept = findFree()
      try {
        return await askOnce(kept ?? open(), question, signal)
      } catch (error) {
        // It may have been closed just as the question went out.
        if (!kept || connections.has(kept) || signal.aborted) throw error
        return await askOnce(findFree() ?? open(), question, signal)
      }
    },
    close: () => {
      for (const { session } of [...connections]) session.destroy()
    },
  }

  function findFree(): Connection | undefined {
    for (const connection of connections) if (connection.streams < MAX_STREAMS) return connection
    return undefined
  }

  function askOnce(connection: Connection, question: Question, signal: AbortSignal): Promise<ServerReply> {
    const asked = { ...question, id: 0 }
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(new Error('did not answer in time'))
        return
      }
      const message = formatQuestion(asked)
      const stream = connection.session.request({
        ':method': 'POST',
        ':path': pathname,
        'content-type': TYPE,
        accept: TYPE,
        'content-length': message.length,
      })
      connection.streams++
      const chunks: Buffer[] = []
      let size = 0
      let status = 0
      const fail = (error: Error) => {
        signal.removeEventListener('abort', onAbort)
        stream.close(constants.NGHTTP2_CANCEL)
        reject(error)
      }
      const onAbort = () => fail(new Error('did not answer in time by HTTPS'))
      signal.addEventListener('abort', onAbort, { once: true })
      stream.on('error', fail)
      stream.on('response', (headers) => {
        status = headers[':status'] ?? 0
      })
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_BYTES) fail(new Error('gave an answer that is too long'))
        else chunks.push(chunk)
      })
      stream.on('close', () => {
        connection.streams--
        signal.removeEventListener('abort', onAbort)
        const reply = status === 200 ? parseServerReply(Buffer.concat(chunks), asked) : undefined
        if (reply) resolve(reply)
        else reject(new Error(status === 200 ? 'gave no proper answer' : `answered with status ${status}`))
      })
      stream.end(message)
    })
  }

  function open(): Connection {
    const session = connect(origin, ca === undefined ? {} : { ca })
    const connection = { session, streams: 0 }
    connections.add(connection)
    const forget = () => void connections.delete(connection)
    session.setTimeout(IDLE_MS, () => {
      forget()
      session.close()
    })
    // Each question on it hears of it too.
    session.on('error', forget)
    session.on('goaway', forget)
    session.on('close', forget)
    session.unref()
    return connection
  }
}
