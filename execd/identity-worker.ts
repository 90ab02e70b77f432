// The file routes for one request under another identity (contract: v1.1.md 2.3), in a process that is that user from its start, so
// that the kernel decides what it may do. execd starts it (files/identity.ts), tells it on its standard input what it needs to know,
// and speaks HTTP with it on a socket that both hold from the beginning. It ends with that socket.

import { createServer, type ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { createLogger } from '../lib/log.ts'
import { createRouter, type Exchange, type Routes } from './http/router.ts'
import { fileRoutes } from './routes/files.ts'
import { createUsers } from './users.ts'

const REQUEST_FD = 3
const MAX_HEADER_BYTES = 256 << 10

export type IdentityWorkerOptions = {
  uid: number
  gid: number
  /** What execd's own request carries. */
  token: string
  env: Record<string, string>
  home: string
  vital: string[]
}

const log = createLogger({ program: 'execd-files' })
process.umask(0o022)
void main()

async function main(): Promise<void> {
  const { uid, gid, token, env, home, vital } = JSON.parse(await text(process.stdin)) as IdentityWorkerOptions
  // Nothing is done as anyone else, whatever went wrong on the way here.
  if (process.getuid?.() !== uid || process.geteuid?.() !== uid || process.getgid?.() !== gid) {
    log.error('started as someone else', { uid: process.getuid?.(), gid: process.getgid?.() })
    process.exit(1)
  }
  const routes = fileRoutes({
    paths: { env, home, cwd: '/' },
    users: createUsers(),
    owner: { uid, gid },
    vital,
  })
  let work: Promise<void> = Promise.resolve()
  const router = createRouter({ routes: noted(routes, (done) => (work = done)), token, log })
  const server = createServer({ requestTimeout: 0, maxHeaderSize: MAX_HEADER_BYTES }, router.request)
  const socket = new Socket({ fd: REQUEST_FD })
  // What a client that left has begun is cleared away first.
  socket.once('close', () => void work.finally(() => process.exit(0)))
  server.emit('connection', socket)
  process.stdout.write('ready\n')
}

/** The same routes, each telling of its work. */
function noted(routes: Routes, note: (done: Promise<void>) => void): Routes {
  const wrap = (handler: Routes[string]) => async (exchange: Exchange) => {
    const done = Promise.resolve(handler?.(exchange))
    note(Promise.allSettled([done, untilSent(exchange.response)]).then(() => {}))
    await done
  }
  return Object.fromEntries(Object.entries(routes).map(([name, handler]) => [name, wrap(handler)]))
}

function untilSent(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    response.once('close', resolve)
  })
}
