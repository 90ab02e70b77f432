// The servers of the suite that secrets are for and those that they are not for, in one program: `bound-server.ts FOLDER`. It reads as
// leniently as it can, keeps every byte, and answers each line of its input with all that it has heard, as one line of JSON.

import { readFileSync } from 'node:fs'
import { createSecureServer, type IncomingHttpHeaders } from 'node:http2'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createSecureContext, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { behave } from './behaviours.ts'
import { type Heard, LISTENERS, type Role } from './names.ts'

const MAX_TEXT = 1 << 20
const SECRET_FIELD = /^(?:authorization: (?:Bearer |Basic )?|x-key: |x-twin: )(.*)$/im

const [folder = ''] = process.argv.slice(2)
const read = (name: string) => readFileSync(join(folder, name), 'utf8')
const contextOf = (name: string) =>
  createSecureContext({ key: read(`${name}.key`), cert: read(`${name}.pem`), minVersion: 'TLSv1.2' })
const odd = new Map(['self', 'expired', 'wrong'].map((name) => [`${name}.bound.example`, contextOf(name)]))
const good = { key: read('good.key'), cert: read('good.pem') }
const strange = { key: read('stranger.key'), cert: read('stranger.pem') }

const heard: Heard[] = []
function note(role: Role, name: string): Heard {
  const one = { role, name, text: '' }
  heard.push(one)
  return one
}

function serve(role: Role, socket: Socket): void {
  const name = 'servername' in socket ? String((socket as TLSSocket).servername || '') : ''
  const one = note(role, name)
  let rest = ''
  let last = ''
  const answer = (request: string) => {
    const end = request.indexOf('\r\n\r\n') + 4
    const head = request.slice(0, end)
    const [method = '', path = ''] = head.split(' ')
    const secret = SECRET_FIELD.exec(head)?.[1] ?? ''
    if (secret !== '') last = secret
    const { bytes, keeps } = behave({ method, path, secret, head, body: request.slice(end), last })
    socket.write(bytes, 'latin1')
    if (!keeps) socket.end()
  }
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: Buffer) => {
    const text = chunk.toString('latin1')
    if (one.text.length < MAX_TEXT) one.text += text
    rest += text
    for (let end = endOf(rest); end > 0; end = endOf(rest)) {
      const request = rest.slice(0, end)
      rest = rest.slice(end)
      answer(request)
    }
  })
}

/** Where the first request ends, if it is whole. */
function endOf(text: string): number {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return 0
  const head = text.slice(0, end + 4)
  if (/^transfer-encoding: *chunked/im.test(head)) {
    const last = /(?:^|\r\n)0[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n/.exec(text.slice(end + 4))
    return last ? end + 4 + last.index + last[0].length : 0
  }
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
  return text.length >= end + 4 + length ? end + 4 + length : 0
}

function textOf(headers: IncomingHttpHeaders): string {
  const { ':method': method, ':path': path, ...fields } = headers
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${String(value)}\r\n`)
  return `${method} ${path} HTTP/2.0\r\n${lines.join('')}\r\n`
}

function serveHttp2() {
  const server = createSecureServer({ ...good, minVersion: 'TLSv1.2' })
  server.on('session', (session) => session.on('error', () => {}))
  server.on('stream', (stream, headers) => {
    const socket = stream.session?.socket as TLSSocket | undefined
    const one = note('h2', String(socket?.servername || ''))
    one.text += textOf(headers)
    const { authorization = '' } = headers
    const path = String(headers[':path'])
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      one.text += chunk.toString('latin1')
    })
    stream.on('trailers', (trailers) => {
      one.text += textOf(trailers)
    })
    if (path.includes('/echo-interim/'))
      stream.additionalHeaders({ ':status': 103, link: `<${authorization}>` })
    if (path.includes('/echo-push/') && stream.pushAllowed)
      stream.pushStream({ ':path': '/pushed', 'x-echo': authorization }, (error, pushed) => {
        if (!error) pushed.respond({ 'x-echo': authorization }, { endStream: true })
      })
    const name = authorization.replace(/^Bearer /, '').toLowerCase()
    stream.respond(
      {
        ':status': 200,
        'x-echo': path.includes('/echo-') ? authorization : 'none',
        ...(path.includes('/echo-name/') && { [`x-${name}`]: '1' }),
        ...(path.includes('/echo-encoded/') && {
          'grpc-status-details-bin': Buffer.from(authorization).toString('base64'),
        }),
      },
      { waitForTrailers: true },
    )
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-echo': authorization }))
    // Its client may still send: what comes is kept.
    stream.end('answered')
  })
  return server
}

function serverOf(role: Role) {
  switch (role) {
    case 'h2':
      return serveHttp2()
    case 'plain':
    case 'stranger, plain':
      return createServer((socket) => serve(role, socket))
    case 'old':
      return createTlsServer(
        { ...strange, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' },
        (socket) => serve(role, socket),
      )
    case 'stranger':
      return createTlsServer({ ...strange, minVersion: 'TLSv1.2' }, (socket) => serve(role, socket))
    default:
      return createTlsServer(
        {
          ...good,
          minVersion: 'TLSv1.2',
          ALPNProtocols: ['http/1.1', 'acme-tls/1'],
          SNICallback: (name, done) => done(null, odd.get(name)),
        },
        (socket) => serve(role, socket),
      )
  }
}

for (const { role, at } of LISTENERS) {
  const server = serverOf(role)
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(at, '0.0.0.0', resolve))
}
process.stdout.write('ready\n')
for await (const _ of createInterface({ input: process.stdin }))
  process.stdout.write(`${JSON.stringify(heard)}\n`)
process.exit(0)
