// Both ends of WebSockets for the benchmarks of the gateway, as raw as can be, so that what is between them is measured:
// `echo PORT` answers each upgrade and sends back what comes; `ping PORT HOST COUNT SECONDS` sends a message on each of so many
// connections, the next when it has come back, and prints how many did; `hold PORT HOSTS COUNT` opens so many that say nothing,
// in turns to the hosts of a comma-separated list, prints `open`, and ends when its input does.

import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A text of 64 bytes, masked with zeros, as a client sends it (RFC 6455 5.2). */
const MESSAGE = Buffer.concat([Buffer.from([0x81, 0x80 | 64, 0, 0, 0, 0]), Buffer.alloc(64, 'm')])
const HEAD_END = '\r\n\r\n'
/** Of many connections at once some would be refused by a full backlog. */
const OPENED_AT_ONCE = 100

const [role = '', portText = '', ...rest] = process.argv.slice(2)
const port = Number(portText)
switch (role) {
  case 'echo':
    echo()
    break
  case 'ping':
    await ping(rest[0] ?? '', Number(rest[1]), Number(rest[2]))
    break
  case 'hold':
    await hold((rest[0] ?? '').split(','), Number(rest[1]))
    break
  default:
    throw new Error(`A peer of WebSockets is echo, ping or hold, not "${role}"`)
}

function echo(): void {
  createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
      )
      socket.on('data', (bytes) => socket.write(bytes))
    })
  }).listen({ port, host: '127.0.0.1', backlog: 1024 })
}

async function ping(host: string, count: number, seconds: number): Promise<void> {
  const sockets = await openAll([host], count)
  let messages = 0
  for (const socket of sockets) {
    let got = 0
    socket.on('data', (bytes) => {
      got += bytes.length
      if (got < MESSAGE.length) return
      got = 0
      messages++
      socket.write(MESSAGE)
    })
    socket.write(MESSAGE)
  }
  setTimeout(() => {
    console.log(messages)
    process.exit(0)
  }, seconds * 1000)
}

async function hold(hosts: readonly string[], count: number): Promise<void> {
  await openAll(hosts, count)
  console.log('open')
  process.stdin.resume()
  await once(process.stdin, 'end')
  process.exit(0)
}

async function openAll(hosts: readonly string[], count: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < count) {
    const batch = Array.from({ length: Math.min(OPENED_AT_ONCE, count - sockets.length) }, (_, at) =>
      open(hosts[(sockets.length + at) % hosts.length] ?? ''),
    )
    sockets.push(...(await Promise.all(batch)))
  }
  return sockets
}

async function open(host: string): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  socket.write(
    `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
  )
  let head = ''
  while (!head.includes(HEAD_END)) head += String((await once(socket, 'data'))[0])
  if (!head.startsWith('HTTP/1.1 101'))
    throw new Error(`The upgrade was answered with ${head.split('\r\n')[0]}`)
  return socket
}
