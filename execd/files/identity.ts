// Files as another user: a process per request that is that user (execd/identity-worker.ts), and execd between it and the client. It is
// never execd itself that touches a file for someone else, and a process that did not become who it should be does nothing.

import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { ApiError, messageOf } from '../../lib/errors.ts'
import type { UserIds } from '../command/process.ts'
import { execdError } from '../http/answer.ts'
import type { Exchange } from '../http/router.ts'
import type { IdentityWorkerOptions } from '../identity-worker.ts'
import { withScoreOfChildren } from '../oom.ts'
import { relay } from '../proxy/relay.ts'
import { createRandomId } from '../random-id.ts'
import { nodeProgram, programPath } from '../runtime-dir.ts'
import type { Surroundings } from '../surroundings.ts'

const START_TIMEOUT_MS = 10_000
/** How long a process may take to clear away what it has begun, once its client has left. */
const END_GRACE_MS = 3000
/** Each takes the memory of a small Node process. */
const MAX_WORKERS = 8
/** Streams of changes stay for as long as their clients, and must not take the places of all others. */
const MAX_WATCHERS = 16
const MAX_WAITING = 256
const WAIT_TIMEOUT_MS = 30_000
/** As little memory and as few threads as Node can do with. */
const NODE_FLAGS = ['--max-semi-space-size=1', '--v8-pool-size=0']
const MAX_COMPLAINT_CHARS = 2000
const MAX_NODE_ID = 2 ** 31 - 1

type Worker = { child: ChildProcess; socket: Socket; token: string }

export class IdentityFiles {
  readonly #surroundings: Surroundings
  readonly #workers = new Places(MAX_WORKERS)
  readonly #watchers = new Places(MAX_WATCHERS)
  readonly #children = new Set<ChildProcess>()

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
  }

  /** Answers a request to `path`, the path and query of a plain file route, as that user. */
  async serve({ request: incoming, response }: Exchange, user: UserIds, path: string): Promise<void> {
    const places = path.startsWith('/files/watch') ? this.#watchers : this.#workers
    await places.take()
    try {
      if (response.destroyed) return
      const worker = await this.#start(user)
      try {
        await relay(incoming, response, {
          path,
          socket: worker.socket,
          token: worker.token,
          refuse: (cause) =>
            execdError('RUNTIME_ERROR', 'The process that works for this user has ended', cause),
        })
      } finally {
        await this.#end(worker)
      }
    } finally {
      places.free()
    }
  }

  async endAll(graceMs: number): Promise<void> {
    const ended = [...this.#children].map(async (child) => {
      child.stdio[3]?.destroy()
      await endWithin(child, graceMs)
    })
    await Promise.all(ended)
  }

  async #start(user: UserIds): Promise<Worker> {
    const token = createRandomId()
    const refuse = (why: string, cause?: unknown) =>
      execdError('SERVICE_UNAVAILABLE', `Cannot become user ${user.uid} and group ${user.gid}: ${why}`, cause)
    let child: ChildProcess
    try {
      child = this.#spawn(user)
    } catch (error) {
      // Most of what a child meets on its way to another user is told at once.
      throw error instanceof ApiError ? error : refuse(messageOf(error), error)
    }
    let complaint = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint = (complaint + text).slice(-MAX_COMPLAINT_CHARS)
    })
    let timer: NodeJS.Timeout | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        timer = setTimeout(() => reject(refuse(`no process within ${START_TIMEOUT_MS} ms`)), START_TIMEOUT_MS)
        child.once('error', (error) => reject(refuse(messageOf(error), error)))
        // It has said all that it had to say.
        child.once('close', () => reject(refuse(complaint.trim() || 'the process ended')))
        child.stdout?.once('data', () => resolve())
        // Ending without having read this is told by its end.
        child.stdin?.on('error', () => {})
        child.stdin?.end(JSON.stringify(this.#options(user, token)))
      })
      return { child, socket: child.stdio[3] as Socket, token }
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  #spawn(user: UserIds): ChildProcess {
    const { starter } = this.#surroundings
    const isRoot = process.getuid?.() === 0
    const { uid, gid, groups = [] } = user
    if (!isRoot && (uid !== process.getuid?.() || gid !== process.getgid?.()))
      throw execdError(
        'SERVICE_UNAVAILABLE',
        `Cannot become user ${uid} and group ${gid}: execd is not root here`,
      )
    // Node can only drop groups, and reads no number that has 32 bits.
    const isByProgram = isRoot && (groups.length > 0 || Math.max(uid, gid) > MAX_NODE_ID)
    const groupsFlag = groups.length > 0 ? `--groups=${groups.join(',')}` : '--clear-groups'
    const become = isByProgram
      ? [...starter.setpriv, `--reuid=${uid}`, `--regid=${gid}`, groupsFlag, '--']
      : []
    const [program = '', ...args] = [
      ...become,
      ...nodeProgram(),
      ...NODE_FLAGS,
      programPath('identity-worker'),
    ]
    const child = withScoreOfChildren(starter.oomScores, () =>
      spawn(program, args, {
        cwd: '/',
        env: {},
        stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
        ...(isRoot && !isByProgram ? { uid, gid } : {}),
      }),
    )
    this.#children.add(child)
    child.once('close', () => this.#children.delete(child))
    child.on('error', () => this.#children.delete(child))
    return child
  }

  #options({ uid, gid }: UserIds, token: string): IdentityWorkerOptions {
    const { env, users, vital } = this.#surroundings
    const known = users.byUid(uid)
    const home = known?.home ?? '/'
    const { USER: _user, LOGNAME: _logname, ...rest } = env
    const names = known ? { USER: known.name, LOGNAME: known.name } : {}
    return { uid, gid, token, home, env: { ...rest, ...names, HOME: home }, vital }
  }

  async #end({ child, socket }: Worker): Promise<void> {
    socket.destroy()
    // Its end is not the client's to wait for, but its place is only free then.
    await endWithin(child, END_GRACE_MS)
  }
}

function endWithin(child: ChildProcess, graceMs: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
    child.once('exit', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** A number of places, given in the order in which they were asked for. */
class Places {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  async take(): Promise<void> {
    if (this.#free > 0) {
      this.#free--
      return
    }
    if (this.#waiting.length >= MAX_WAITING) throw tooMany()
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1)
        reject(tooMany())
      }, WAIT_TIMEOUT_MS)
      const go = () => {
        clearTimeout(timer)
        resolve()
      }
      this.#waiting.push(go)
    })
  }

  free(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#free++
  }
}

function tooMany(): Error {
  return execdError('TOO_MANY', 'Too many requests for files of other users are being answered')
}
