// The file routes of an isolated session, in a process that has the session's files as its own: what is written here is what the
// session's processes see, and a link leads nowhere that they could not go (I1). It is started by execd (isolated/file-access.ts),
// serves on a socket that execd has opened, and ends with execd or after some time without work.

import { createServer } from 'node:http'
import type { Server } from 'node:net'
import { createLogger } from '../lib/log.ts'
import { createRouter, type Routes } from './http/router.ts'
import { confine, type FileRoot } from './isolated/confine.ts'
import { type FileRoutesOptions, fileRoutes } from './routes/files.ts'
import { createUsers } from './users.ts'

const IDLE_MS = 60_000
const MAX_HEADER_BYTES = 256 << 10

export type WorkerOptions = {
  /** What execd's own requests carry. */
  token: string
  env: Record<string, string>
  home: string
  /** Where relative paths begin. */
  cwd: string
  roots: FileRoot[]
  /** Who owns what is made. */
  owner: FileRoutesOptions['owner']
  vital: string[]
}

/** Routes that are about a link itself, and not about what it leads to. */
const ABOUT_LINKS = ['GET /files/info', 'DELETE /files', 'DELETE /directories', 'POST /files/mv']

const log = createLogger({ program: 'execd-files' })
process.umask(0o022)
process.once('message', (options, listener) => serve(options as WorkerOptions, listener as Server))
process.once('disconnect', () => process.exit(0))

function serve(options: WorkerOptions, listener: Server): void {
  const router = createRouter({ routes: confinedRoutes(options), token: options.token, log })
  const server = createServer({ requestTimeout: 0, maxHeaderSize: MAX_HEADER_BYTES }, router.request)
  let open = 0
  let idle: NodeJS.Timeout | undefined
  const rest = () => {
    // Between two processes nothing is lost by a connection that is refused: execd starts another worker.
    idle = setTimeout(() => process.exit(0), IDLE_MS)
  }
  server.on('request', (_request, response) => {
    open++
    clearTimeout(idle)
    response.once('close', () => {
      open--
      if (open === 0) rest()
    })
  })
  rest()
  // It listens already: connections are all that the HTTP server needs of it.
  listener.on('connection', (socket) => server.emit('connection', socket))
  process.send?.('ready')
}

/** The file routes, each with what it may reach. */
function confinedRoutes(options: WorkerOptions): Routes {
  const users = createUsers()
  const { env, home, cwd, roots, owner, vital } = options
  const routesFor = (isWriting: boolean, followsLast: boolean) =>
    fileRoutes({
      users,
      owner,
      vital,
      paths: { env, home, cwd, confine: (path) => confine(path, { roots, isWriting, followsLast }) },
    })
  // All that are about a link write, but for the first.
  const reading = { through: routesFor(false, true), itself: routesFor(false, false) }
  const writing = { through: routesFor(true, true), itself: routesFor(true, false) }
  return Object.fromEntries(
    Object.keys(reading.through).flatMap((name) => {
      const { through, itself } = /^(?:GET|HEAD) /.test(name) ? reading : writing
      const handler = (ABOUT_LINKS.includes(name) ? itself : through)[name]
      return handler ? [[name, handler]] : []
    }),
  )
}
