// The one place that speaks to the Docker daemon. Each call has a deadline, and an error that tells three things apart: the daemon
// refused, with its status; it is not there; it did not answer in time. What it says of itself stays in the log and in `cause`.

import type Docker from 'dockerode'
import type { DockerOptions } from 'dockerode'
import { messageOf, systemCodeOf } from '../../../lib/errors.ts'
import { RuntimeError } from '../runtime.ts'
import { createAgent } from './agent.ts'
import type { DaemonInfo } from './checks.ts'

/** The oldest version of the API that has all that is asked for here: Docker 20.10. */
const OLDEST_API = '1.41'
/** What we know; a daemon that speaks a later one speaks this, too. */
const NEWEST_API = '1.47'
const ALIVE_EVERY_MS = 10_000

/** The daemon answered with a status that means no. */
export class EngineRefusal extends Error {
  override name = 'EngineRefusal'
  readonly status: number
  constructor(status: number, message: string, options?: { cause: unknown }) {
    super(message, options)
    this.status = status
  }
}

export type Engine = {
  /** Typed by dockerode; every use goes through `call`, which gives the signal to hand on. */
  docker: Docker
  /** How often to ask whether it is still there while nothing is heard of it; absent where the end of a socket says so. */
  aliveEveryMs?: number
  /**
   * Does one call. Rejects with EngineRefusal, with a RuntimeError `unavailable` when the daemon is not there, or with the signal's reason.
   * A call that makes something is not to be given up half way, as the daemon would go on: such a one takes no signal of its caller, and
   * has its deadline alone.
   */
  call<T>(work: (abortSignal: AbortSignal) => Promise<T>, options?: CallOptions): Promise<T>
}

/** What the daemon says of itself; dockerode's types do not know that these take a signal, too. */
type AboutItself = {
  version(options: { abortSignal: AbortSignal }): Promise<{ ApiVersion: string; MinAPIVersion?: string }>
  info(options: { abortSignal: AbortSignal }): Promise<DaemonInfo>
  ping(options: { abortSignal: AbortSignal }): Promise<unknown>
}

export type CallOptions = { signal?: AbortSignal; timeoutMs?: number }

/** How a daemon is reached: by a socket of this machine, or by TCP, with certificates behind TLS. */
export type Reach =
  | { socketPath: string }
  | { host: string; port: number; tls?: { ca?: string; cert?: string; key?: string } }

export type EngineOptions = Reach & {
  /** What the place is called in messages; the socket when absent. */
  shownAs?: string
  aliveEveryMs?: number
  timeoutMs: number
  signal: AbortSignal
}

/** Speaks to a daemon by the version of the API that both know. Throws one clear sentence when that cannot be. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  // It takes as long to load as all the rest of control, and only this runtime needs it.
  const { default: Client } = await import('dockerode')
  const at = clientOptionsOf(options)
  const clientOf = (more: DockerOptions) => {
    try {
      return new Client({ ...at, ...more })
    } catch (error) {
      // It reads the environment's certificates whatever it is given, and wants all three.
      throw new Error(`Cannot use DOCKER_CERT_PATH (${messageOf(error)}): set docker.cert_path instead`, {
        cause: error,
      })
    }
  }
  const shownAs = options.shownAs ?? ('socketPath' in options ? options.socketPath : options.host)
  const first = createEngine(clientOf({}), options)
  const told = await first
    .call((abortSignal) => (first.docker as unknown as AboutItself).version({ abortSignal }), {
      timeoutMs: 10_000,
    })
    .catch((error) => {
      throw new Error(
        `Cannot reach the Docker daemon at "${shownAs}" (${whyUnreachable(error)}): start it, or set docker.host or DOCKER_HOST`,
        { cause: error },
      )
    })
  const version = chooseVersion(told.ApiVersion, told.MinAPIVersion)
  const engine = createEngine(clientOf({ version: `v${version}` }), options)
  return 'socketPath' in options
    ? engine
    : { ...engine, aliveEveryMs: options.aliveEveryMs ?? ALIVE_EVERY_MS }
}

/** Named in full, or the client would look for the rest in the environment. */
function clientOptionsOf(reach: Reach): DockerOptions {
  const isTls = 'tls' in reach && reach.tls !== undefined
  const nothing = {
    ...{ ca: undefined, cert: undefined, key: undefined, timeout: undefined, pathPrefix: '/' },
    // Its types do not know it.
    ...{ agent: createAgent({ isTls }) },
  }
  if ('socketPath' in reach)
    return { ...nothing, socketPath: reach.socketPath, host: undefined, port: undefined, protocol: 'http' }
  const { host, port, tls } = reach
  const at = { socketPath: undefined, host, port }
  return tls ? { ...nothing, ...at, ...tls, protocol: 'https' } : { ...nothing, ...at, protocol: 'http' }
}

/** With what only TLS, or a daemon that wants it, says. */
function whyUnreachable(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const told = messageOf(cause)
  return /certificate|altname|\bSSL\b|\bTLS\b|HTTPS server|self.signed|wrong version number/i.test(told)
    ? told.slice(0, 300)
    : messageOf(error)
}

/** The version to speak. Throws when the daemon is older than what is needed, or newer than what is known. */
export function chooseVersion(newest: string, oldest: string | undefined): string {
  if (compareVersions(newest, OLDEST_API) < 0)
    throw new Error(
      `The Docker daemon speaks its API up to version ${newest}, but at least ${OLDEST_API} is needed: install Docker 20.10 or newer`,
    )
  if (oldest !== undefined && compareVersions(oldest, NEWEST_API) > 0)
    throw new Error(
      `The Docker daemon speaks its API from version ${oldest} on, but this version knows it up to ${NEWEST_API}`,
    )
  return compareVersions(newest, NEWEST_API) < 0 ? newest : NEWEST_API
}

function compareVersions(a: string, b: string): number {
  const [majorA = 0, minorA = 0] = a.split('.').map(Number)
  const [majorB = 0, minorB = 0] = b.split('.').map(Number)
  return majorA - majorB || minorA - minorB
}

export function createEngine(
  docker: Docker,
  { timeoutMs: usualMs, signal: life }: Pick<EngineOptions, 'timeoutMs' | 'signal'>,
): Engine {
  return {
    docker,
    async call(work, { signal, timeoutMs = usualMs } = {}) {
      const deadline = AbortSignal.timeout(timeoutMs)
      signal?.throwIfAborted()
      const abortSignal = AbortSignal.any([life, deadline, ...(signal ? [signal] : [])])
      const { promise: aborted, reject } = Promise.withResolvers<never>()
      const onAbort = () => reject(abortSignal.reason)
      // Whatever the client makes of the signal.
      abortSignal.addEventListener('abort', onAbort, { once: true })
      try {
        abortSignal.throwIfAborted()
        return await Promise.race([work(abortSignal), aborted])
      } catch (error) {
        signal?.throwIfAborted()
        life.throwIfAborted()
        throw readFailure(error, deadline.aborted ? timeoutMs : undefined)
      } finally {
        abortSignal.removeEventListener('abort', onAbort)
      }
    },
  }
}

/** What a failure of the client means; `lateMs` is the time that it had, when that is over. */
export function readFailure(error: unknown, lateMs?: number): Error {
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : undefined
  if (status) return new EngineRefusal(status, wordsOf(messageOf(error)), { cause: error })
  const why = lateMs === undefined ? systemCodeOf(error) : `no answer within ${lateMs / 1000} seconds`
  if (why === undefined && !/socket hang up|aborted/.test(messageOf(error)))
    return error instanceof Error ? error : new Error(messageOf(error))
  return new RuntimeError('unavailable', `The Docker daemon does not answer (${why ?? 'it hung up'})`, {
    cause: error,
  })
}

/** Without what the client puts around it: `(HTTP code 409) unexpected - Conflict. … `. */
function wordsOf(message: string): string {
  return message
    .replace(/^\(HTTP code \d+\) [^-]*- /, '')
    .trim()
    .slice(0, 1000)
}

/** Whether the daemon says that there is no such thing. */
export function isMissing(error: unknown): boolean {
  return error instanceof EngineRefusal && error.status === 404
}

export function readInfo({ docker, call }: Engine): Promise<DaemonInfo> {
  return call((abortSignal) => (docker as unknown as AboutItself).info({ abortSignal }))
}

/** Asks whether the daemon is there. Rejects when it is not. */
export async function ping({ docker, call }: Engine, options: CallOptions): Promise<void> {
  await call((abortSignal) => (docker as unknown as AboutItself).ping({ abortSignal }), options)
}
