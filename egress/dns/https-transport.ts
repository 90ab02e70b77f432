// DNS over HTTPS (RFC 8484): questions as POST requests of one HTTP/2 connection to a server whose certificate is checked. The id is
// zero, as the RFC has it; the connection tells the answers apart. The server's own name is resolved by this machine.

import { type ClientHttp2Session, connect, constants } from 'node:http2'
import { formatQuestion, parseServerReply, type Question, type ServerReply } from './message.ts'
import type { Transport, Trust } from './transport.ts'

const IDLE_MS = 30_000
const MAX_BYTES = 65_535
const TYPE = 'application/dns-message'

export function openHttpsTransport(url: string, { ca }: Trust): Transport {
  const { origin, pathname } = new URL(url)
  let current: ClientHttp2Session | undefined

  return {
    async ask(question, signal) {
      const kept = current
      try {
        return await askOnce(question, signal)
      } catch (error) {
        // It may have been closed just as the question went out.
        if (!kept || kept === current || signal.aborted) throw error
        return await askOnce(question, signal)
      }
    },
    close: () => current?.destroy(),
  }

  function askOnce(question: Question, signal: AbortSignal): Promise<ServerReply> {
    const session = current ?? open()
    const asked = { ...question, id: 0 }
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(new Error('did not answer in time'))
        return
      }
      const message = formatQuestion(asked)
      const stream = session.request({
        ':method': 'POST',
        ':path': pathname,
        'content-type': TYPE,
        accept: TYPE,
        'content-length': message.length,
      })
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
        signal.removeEventListener('abort', onAbort)
        const reply = status === 200 ? parseServerReply(Buffer.concat(chunks), asked) : undefined
        if (reply) resolve(reply)
        else reject(new Error(status === 200 ? 'gave no proper answer' : `answered with status ${status}`))
      })
      stream.end(message)
    })
  }

  function open(): ClientHttp2Session {
    const session = connect(origin, ca === undefined ? {} : { ca })
    current = session
    const forget = () => {
      if (current === session) current = undefined
    }
    session.setTimeout(IDLE_MS, () => session.close())
    // Each question on it hears of it too.
    session.on('error', forget)
    session.on('goaway', forget)
    session.on('close', forget)
    session.unref()
    return session
  }
}
