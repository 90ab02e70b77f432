// Where the daemon is, as DOCKER_HOST says it, and how it is spoken to there. Pure.

import type { DockerConfig } from '../../../lib/config/docker.ts'

const DEFAULT_SOCKET = '/var/run/docker.sock'
const PLAIN_PORT = 2375
const TLS_PORT = 2376
const HTTPS_PORT = 443
const USER = /^[A-Za-z_][\w.-]{0,63}$/
const HOST = /^(?:[A-Za-z0-9](?:[\w.-]{0,252})|\[[0-9a-fA-F:.]{2,45}\])$/

export type DaemonPlace =
  | { kind: 'socket'; path: string }
  /** `certPath` is where the certificates lie; absent for those that this machine trusts anyway. */
  | { kind: 'tls'; host: string; port: number; certPath?: string }
  | { kind: 'plain'; host: string; port: number }
  /** `socket` is the daemon's on that machine. */
  | { kind: 'ssh'; host: string; port?: number; user?: string; socket: string }

export type Reaching = Pick<DockerConfig, 'host' | 'tlsVerify' | 'certPath' | 'allowPlaintext'>

/** Reads where the daemon is. Throws one sentence for what is no such place, or would hand the daemon to who is on the way. */
export function placeOf({ host: text, tlsVerify, certPath, allowPlaintext = false }: Reaching): DaemonPlace {
  if (text === undefined || text === '') return { kind: 'socket', path: DEFAULT_SOCKET }
  if (text.startsWith('/')) return { kind: 'socket', path: text }
  const [, scheme = '', rest = ''] = /^([a-z]+):\/\/(.*)$/.exec(text) ?? []
  if (scheme === 'unix' && rest.startsWith('/')) return { kind: 'socket', path: rest }
  const [, login, host = '', portText, path = ''] =
    /^(?:([^/@]*)@)?(\[[^\]]*\]|[^/:@]*)(?::(\d{1,5}))?(\/.*)?$/.exec(rest) ?? []
  const port = portText === undefined ? undefined : Number(portText)
  const isRight = HOST.test(host) && port !== 0 && (port ?? 1) <= 65_535
  if (scheme === 'ssh' && isRight && (login === undefined || USER.test(login)) && !path.includes(':'))
    return {
      kind: 'ssh',
      host: withoutBrackets(host),
      ...(port !== undefined && { port }),
      ...(login !== undefined && { user: login }),
      socket: path === '' || path === '/' ? DEFAULT_SOCKET : path,
    }
  const isTcp = ['tcp', 'http', 'https'].includes(scheme)
  if (!isTcp || !isRight || login !== undefined || !['', '/'].includes(path))
    throw new Error(
      `Cannot use the Docker daemon at "${withoutLogin(text)}": docker.host, or DOCKER_HOST, must be "unix://${DEFAULT_SOCKET}", "tcp://HOST:PORT", "https://HOST:PORT" or "ssh://USER@HOST:PORT", without a password`,
    )
  const at = { host: withoutBrackets(host), port }
  if (scheme === 'https' || tlsVerify === true || (tlsVerify !== false && certPath !== undefined))
    return {
      kind: 'tls',
      host: at.host,
      port: at.port ?? (scheme === 'https' ? HTTPS_PORT : TLS_PORT),
      ...(certPath !== undefined && { certPath }),
    }
  if (!isThisMachine(at.host) && !allowPlaintext)
    throw new Error(
      `Cannot use the Docker daemon at "${text}" without TLS: whoever is on the way would have root of that machine. Set docker.tls_verify and docker.cert_path (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH), use "ssh://", or set docker.allow_plaintext where the way itself is safe`,
    )
  return { kind: 'plain', host: at.host, port: at.port ?? PLAIN_PORT }
}

/** The place in words, for messages. */
export function showPlace(place: DaemonPlace): string {
  if (place.kind === 'socket') return place.path
  const { host, port } = place
  const at = `${host.includes(':') ? `[${host}]` : host}${port === undefined ? '' : `:${port}`}`
  if (place.kind !== 'ssh') return `${place.kind === 'tls' ? 'https' : 'tcp'}://${at}`
  return `ssh://${place.user === undefined ? '' : `${place.user}@`}${at}`
}

function isThisMachine(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[|\]$/g, '')
}

function withoutLogin(host: string): string {
  return host.replace(/\/\/[^/@]*@/, '//…@').slice(0, 200)
}
