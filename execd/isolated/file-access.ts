// Reaching the files of a session: its file routes are answered by a process of ours among its mounts (execd/file-worker.ts),
// started at the first request and kept while there are more. Only its user is the session's; its processes, and the socket
// between it and us, are out of the session's sight.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { renameSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { WorkerOptions } from '../file-worker.ts'
import { execdError } from '../http/answer.ts'
import { relay } from '../proxy/relay.ts'
import { createRandomId } from '../random-id.ts'
import { nodeProgram, programPath } from '../runtime-dir.ts'
import { becomeUserCommand } from './become-user.ts'
import type { FileRoot } from './confine.ts'
import { enterCommand, type Namespace } from './namespace.ts'
import type { IsolatedSession } from './session.ts'

const START_TIMEOUT_MS = 15_000
const MAX_ATTEMPTS = 2
/** Little memory, and few threads. */
const NODE_FLAGS = ['--max-semi-space-size=1', '--v8-pool-size=1']

type Worker = { child: ChildProcess; token: string; socketPath: string; namespace: Namespace }

export class FileAccess {
  readonly #session: IsolatedSession
  #worker: Promise<Worker> | undefined

  constructor(session: IsolatedSession) {
    this.#session = session
  }

  /** Answers a request to `path`, the path and query of a plain file route. */
  async forward(incoming: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const { socket, token } = await this.#connect()
    await relay(incoming, response, {
      path,
      socket,
      token,
      refuse: (cause) =>
        execdError('RUNTIME_ERROR', 'The files of the session cannot be reached at this moment', cause),
    })
  }

  /** A connection to the worker; one that has just gone to rest is started again. */
  async #connect(): Promise<{ socket: Socket; token: string }> {
    for (let attempt = 1; ; attempt++) {
      this.#worker ??= this.#start()
      const current = this.#worker
      try {
        const { socketPath, token, namespace } = await current
        // The session may have been started anew since.
        if (namespace !== this.#session.namespace)
          throw new Error('It is among the files of an earlier shell')
        const socket = connect(socketPath)
        await once(socket, 'connect')
        return { socket, token }
      } catch (error) {
        if (this.#worker === current) this.#worker = undefined
        if (attempt === MAX_ATTEMPTS) throw error
      }
    }
  }

  /** Ends the worker. */
  async close(): Promise<void> {
    const worker = await this.#worker?.catch(() => undefined)
    this.#worker = undefined
    worker?.child.kill('SIGKILL')
  }

  async #start(): Promise<Worker> {
    const { namespace, spec } = this.#session
    if (!namespace) throw execdError('RUNTIME_ERROR', 'The session is dead: its files cannot be reached')
    const token = createRandomId()
    const socketPath = join(spec.dir, token.slice(0, 8))
    const listener = await listenAt(socketPath)
    // The listener removes what has its name when it is closed here, and is still listened to there.
    renameSync(socketPath, `${socketPath}.worker`)
    const isUserns = spec.request.uidMode === 'userns'
    const [program = '', ...args] = [
      ...enterCommand(namespace),
      ...becomeUserCommand(isUserns ? { uid: 0, gid: 0 } : spec.user, { limited: true }),
      ...nodeProgram(),
      ...NODE_FLAGS,
      programPath('file-worker'),
    ]
    const child = spawn(program, args, {
      cwd: '/',
      env: {},
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    const forget = () => {
      rmSync(`${socketPath}.worker`, { force: true })
    }
    child.once('exit', forget)
    child.on('error', forget)
    // It is none of the session's processes, and would hold its mounts.
    void namespace.ended.then(() => child.kill('SIGKILL'))
    let complaint = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-2000)
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS)
    try {
      child.send(this.#options(token), listener)
      const started = await Promise.race([
        once(child, 'message').then(() => true),
        once(child, 'exit').then(() => false),
      ])
      if (!started)
        throw execdError('RUNTIME_ERROR', `The files of the session cannot be reached: ${complaint.trim()}`)
      return { child, token, socketPath: `${socketPath}.worker`, namespace }
    } finally {
      clearTimeout(timer)
      // Only the worker listens now.
      listener.close()
    }
  }

  #options(token: string): WorkerOptions {
    const { plan, user, request: asked, surroundings } = this.#session.spec
    const roots: FileRoot[] = [
      ...plan.mounts.map(({ path, mode, persist }) => ({
        path,
        isWritable: mode !== 'ro' && persist,
        ...(persist ? {} : { reason: `what is written to "${path}" is not kept` }),
      })),
      ...plan.binds.map(({ dest, readOnly }) => ({ path: dest, isWritable: !readOnly })),
    ]
    return {
      token,
      env: surroundings.paths.env,
      home: surroundings.paths.home,
      cwd: plan.mounts[0]?.path ?? '/',
      roots,
      owner: asked.uidMode === 'userns' ? { uid: 0, gid: 0 } : user,
      vital: surroundings.vital,
    }
  }
}

function listenAt(path: string): Promise<Server> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => resolve(server))
  })
}
