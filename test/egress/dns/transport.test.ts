// Name servers that are spoken to by TLS and by HTTPS, on loopback, with a certificate of their own.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type TLSSocket } from 'node:tls'
import dnsPacket from 'dns-packet'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { firstFrame, frame } from '../../../egress/dns/frame.ts'
import { openTransport } from '../../../egress/dns/transport.ts'
import type { DnsUpstream } from '../../../lib/name-server.ts'

let folder: string
let key: string
let cert: string
const never = new AbortController().signal
const QUESTION = { name: 'a.example', type: 'A' }

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'transport-test-'))
  const at = (name: string) => join(folder, name)
  const subject = ['-subj', '/CN=dns.example', '-addext', 'subjectAltName=DNS:dns.example,IP:127.0.0.1']
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
  const files = ['-keyout', at('key'), '-out', at('cert')]
  execFileSync('openssl', ['req', '-x509', ...made, ...subject, ...files], { stdio: 'ignore' })
  key = readFileSync(at('key'), 'utf8')
  cert = readFileSync(at('cert'), 'utf8')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function answerTo(message: Buffer): Buffer {
  const query = dnsPacket.decode(message)
  return dnsPacket.encode({
    type: 'response',
    id: query.id ?? 0,
    questions: query.questions ?? [],
    answers: [{ type: 'A', name: query.questions?.[0]?.name ?? '', ttl: 60, data: '198.51.100.7' }],
  })
}

async function tlsServer(onMessage: (socket: TLSSocket, message: Buffer) => void) {
  const server = createServer({ key, cert }, (socket) => {
    let received = Buffer.alloc(0)
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      for (let message = firstFrame(received); message; message = firstFrame(received)) {
        received = received.subarray(2 + message.length)
        onMessage(socket, Buffer.from(message))
      }
    })
  })
  const state = { connections: 0 }
  server.on('secureConnection', () => void state.connections++)
  const port = await listen(server)
  return { state, port }
}

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

function open(server: DnsUpstream, ca = cert) {
  const transport = openTransport(server, ca === '' ? {} : { ca })
  onTestFinished(() => transport.close())
  return transport
}
const tlsAt = (port: number, serverName = 'dns.example'): DnsUpstream => ({
  by: 'tls',
  address: '127.0.0.1',
  port,
  serverName,
})

test('by TLS, many questions share one connection, and answers may come in any order', async () => {
  const held: (() => void)[] = []
  const { state, port } = await tlsServer((socket, message) => {
    held.push(() => socket.write(frame(answerTo(message))))
    if (held.length === 3) for (const each of held.reverse()) each()
  })
  const transport = open(tlsAt(port))
  const names = ['a.example', 'b.example', 'c.example']
  const replies = await Promise.all(names.map((name) => transport.ask({ name, type: 'A' }, never)))
  expect(replies.map(({ answers }) => answers[0]?.name)).toEqual(names)
  expect(state.connections).toBe(1)
})

test('by TLS, a connection that was closed between two questions is opened again', async () => {
  let closed = () => {}
  const isClosed = new Promise<void>((resolve) => {
    closed = resolve
  })
  const { state, port } = await tlsServer((socket, message) => {
    socket.end(frame(answerTo(message)))
    socket.once('close', closed)
  })
  const transport = open(tlsAt(port))
  await transport.ask(QUESTION, never)
  await isClosed
  expect(await transport.ask(QUESTION, never)).toMatchObject({ answers: [{ data: '198.51.100.7' }] })
  expect(state.connections).toBe(2)
})

test.each([
  ['an authority that nobody trusts', 'dns.example', undefined, /self-signed certificate/],
  ['another name', 'other.example', 'own', /does not match/],
])('by TLS, a certificate of %s is not believed', async (_, name, trusted, problem) => {
  const { port } = await tlsServer((socket, message) => socket.write(frame(answerTo(message))))
  const transport = open(tlsAt(port, name), trusted === undefined ? '' : cert)
  await expect(transport.ask(QUESTION, never)).rejects.toThrow(problem)
})

test('by TLS, a certificate may be for the address', async () => {
  const { port } = await tlsServer((socket, message) => socket.write(frame(answerTo(message))))
  expect(await open(tlsAt(port, '127.0.0.1')).ask(QUESTION, never)).toMatchObject({ rcode: 0 })
})

test('by TLS, a server that is silent costs its time and no more', async () => {
  const { port } = await tlsServer(() => {})
  const controller = new AbortController()
  const asking = open(tlsAt(port)).ask(QUESTION, controller.signal)
  controller.abort()
  await expect(asking).rejects.toThrow('did not answer in time by TLS')
})

async function httpsServer(respond: (message: Buffer) => { status: number; body: Buffer } | undefined) {
  const settings = { maxConcurrentStreams: 100 }
  const server = createSecureServer({ key, cert, settings }, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const answer = respond(Buffer.concat(chunks))
      if (!answer) return
      response.writeHead(answer.status, { 'content-type': 'application/dns-message' })
      response.end(answer.body)
    })
  })
  const state = { sessions: 0 }
  server.on('session', () => void state.sessions++)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return {
    state,
    upstream: { by: 'https', url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/q` } as const,
  }
}

test('by HTTPS, questions share one connection', async () => {
  const { state, upstream } = await httpsServer((message) => ({ status: 200, body: answerTo(message) }))
  const transport = open(upstream)
  const [first] = await Promise.all([
    transport.ask(QUESTION, never),
    transport.ask({ ...QUESTION, name: 'b.example' }, never),
  ])
  expect(first).toMatchObject({ rcode: 0, answers: [{ data: '198.51.100.7' }] })
  expect(state.sessions).toBe(1)
})

test('by HTTPS, a question does not wait behind those that its server has no answer for', async () => {
  const { state, upstream } = await httpsServer((message) =>
    dnsPacket.decode(message).questions?.[0]?.name === 'stuck.example'
      ? undefined
      : { status: 200, body: answerTo(message) },
  )
  const transport = open(upstream)
  const controller = new AbortController()
  const ask = (name: string) => transport.ask({ ...QUESTION, name }, controller.signal)
  const stuck = Array.from({ length: 150 }, () => ask('stuck.example'))
  expect(await ask('a.example')).toMatchObject({ rcode: 0 })
  expect(state.sessions).toBe(2)
  controller.abort()
  await expect(Promise.any(stuck)).rejects.toThrow()
})

test.each([
  ['an error', { status: 503, body: Buffer.from('no') }, /answered with status 503/],
  ['something else', { status: 200, body: Buffer.from('<html>') }, /gave no proper answer/],
  ['too much', { status: 200, body: Buffer.alloc(70_000) }, /too long/],
])('by HTTPS, %s is no answer', async (_, answer, problem) => {
  const { upstream } = await httpsServer(() => answer)
  await expect(open(upstream).ask(QUESTION, never)).rejects.toThrow(problem)
})

test('by HTTPS, a certificate that nobody trusts is not believed', async () => {
  const { upstream } = await httpsServer((message) => ({ status: 200, body: answerTo(message) }))
  await expect(open(upstream, '').ask(QUESTION, never)).rejects.toThrow(/self-signed certificate/)
})

test('by HTTPS, a server that is silent costs its time and no more', async () => {
  const { upstream } = await httpsServer(() => undefined)
  const controller = new AbortController()
  const asking = open(upstream).ask(QUESTION, controller.signal)
  controller.abort()
  await expect(asking).rejects.toThrow('did not answer in time by HTTPS')
})
