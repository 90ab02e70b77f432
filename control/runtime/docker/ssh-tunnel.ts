// A daemon on another machine, or behind another door of this one, by SSH: the system's own client holds one connection and serves the
// daemon's socket at a path of ours, so that all else is as with a socket. It knows the operator's keys, agent and jump hosts, and it
// checks who answers against known_hosts: a host that is not in there is refused, whatever its configuration says.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import { messageOf } from '../../../lib/errors.ts'
import { createToken } from '../../../lib/id.ts'
import type { Logger } from '../../../lib/log.ts'
import { SYSTEM_PATH } from '../../../lib/run-program.ts'
import { type Backoff, backoffMs, pause } from '../../async.ts'
import type { DaemonPlace } from './host.ts'

const PAUSES: Backoff = { firstMs: 200, longestMs: 5000 }
const CONNECT_TIMEOUT_S = 10
const READY_TIMEOUT_MS = 20_000
/** Without an answer for three of these, the other side is gone. */
const ALIVE_EVERY_S = 5
const READY = 'ready'
const KEPT_WORDS = 2000

export type SshPlace = Extract<DaemonPlace, { kind: 'ssh' }>

export type TunnelOptions = {
  place: SshPlace
  /** Nobody else may look into it: who reaches the socket in it has the daemon. */
  folder: string
  /** In the place of `~/.ssh/config`. */
  configFile?: string
  /** Where an SSH agent listens, if there is one. */
  agentSocket?: string
  log: Logger
  signal: AbortSignal
}

/** The client's arguments. What is given here counts more than what its configuration says. */
export function sshArguments(place: SshPlace, localSocket: string, configFile?: string): string[] {
  const options = [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    'ExitOnForwardFailure=yes',
    `ConnectTimeout=${CONNECT_TIMEOUT_S}`,
    `ServerAliveInterval=${ALIVE_EVERY_S}`,
    'ServerAliveCountMax=3',
    'TCPKeepAlive=yes',
    'StreamLocalBindUnlink=yes',
    'StreamLocalBindMask=0177',
    // A connection that others share would end with theirs.
    'ControlMaster=no',
    'ControlPath=none',
    'ForwardAgent=no',
    'ForwardX11=no',
    'RemoteCommand=none',
    'LogLevel=ERROR',
    // Said once the connection is there and the socket listens.
    'PermitLocalCommand=yes',
    `LocalCommand=echo ${READY}`,
  ]
  return [
    ...(configFile === undefined ? [] : ['-F', configFile]),
    '-N',
    '-T',
    ...options.flatMap((option) => ['-o', option]),
    ...(place.port === undefined ? [] : ['-p', String(place.port)]),
    ...(place.user === undefined ? [] : ['-l', place.user]),
    '-L',
    `${localSocket}:${place.socket}`,
    '--',
    place.host,
  ]
}

/** Opens the way and keeps it open until the signal aborts; resolves to the path of the socket. Rejects when it does not open at all. */
export async function openSshTunnel(options: TunnelOptions): Promise<string> {
  const { folder, log, signal, place } = options
  // A client of an earlier opening may be about to take away what it listened at.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const socketPath = join(folder, `${createToken().slice(0, 8)}.sock`)
  let client = startClient(options, socketPath)
  await client.ready
  void (async () => {
    let failures = 0
    while (!signal.aborted) {
      const words = await client.ended
      if (signal.aborted) return
      if (failures++ === 0) log.warn('the way to the Docker daemon broke off', { host: place.host, words })
      await pause(backoffMs(PAUSES, failures, Math.random()), signal)
      if (signal.aborted) return
      client = startClient(options, socketPath)
      await client.ready.then(
        () => {
          failures = 0
          log.info('the way to the Docker daemon is open again', { host: place.host })
        },
        // What it said is told when it has ended.
        () => {},
      )
    }
  })()
  return socketPath
}

type Client = {
  /** Rejects when it ends before, or takes too long. */
  ready: Promise<void>
  /** Resolves to what it complained of last. */
  ended: Promise<string>
}

function startClient({ place, configFile, agentSocket, signal }: TunnelOptions, socketPath: string): Client {
  // It ends with this program, however that ends.
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'TERM', 'ssh', ...sshArguments(place, socketPath, configFile)],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: SYSTEM_PATH,
        LC_ALL: 'C',
        ...(agentSocket !== undefined && { SSH_AUTH_SOCK: agentSocket }),
      },
      signal,
    },
  )
  let words = ''
  keepEnd(child.stderr, (text) => {
    words = (words + text).slice(-KEPT_WORDS)
  })
  let failure: unknown
  // That it could not be started, or was ended by the signal.
  child.on('error', (error) => {
    failure = error
  })
  const ended = new Promise<string>((resolve) =>
    child.once('close', () =>
      resolve(words.trim().split('\n').at(-1) || (failure ? messageOf(failure) : 'it ended')),
    ),
  )
  const ready = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => child.kill(), READY_TIMEOUT_MS)
    let said = ''
    keepEnd(child.stdout, (text) => {
      said = (said + text).slice(-KEPT_WORDS)
      if (!said.split('\n').includes(READY)) return
      clearTimeout(timer)
      resolve()
    })
    void ended.then((why) => {
      clearTimeout(timer)
      reject(new Error(`ssh: ${why}`))
    })
  })
  return { ready, ended }
}

function keepEnd(stream: ChildProcess['stdout'], keep: (text: string) => void): void {
  const decoder = new StringDecoder('utf8')
  stream?.on('data', (chunk: Buffer) => keep(decoder.write(chunk)))
}
