// Where the daemon is, as DOCKER_HOST says it.

const DEFAULT_SOCKET = '/var/run/docker.sock'

/**
 * The socket of the daemon. Throws for a daemon that is elsewhere: the rules of a sandbox's network are put into this machine's kernel,
 * and would keep nothing of another one.
 */
export function socketOf(host: string | undefined): string {
  if (host === undefined || host === '') return DEFAULT_SOCKET
  const path = host.startsWith('unix://')
    ? host.slice('unix://'.length)
    : host.startsWith('/')
      ? host
      : undefined
  if (path?.startsWith('/')) return path
  throw new Error(
    `Cannot use the Docker daemon at "${withoutLogin(host)}": it has to be on this machine, because the network policy of a sandbox is enforced by this machine's kernel. Set docker.host or DOCKER_HOST to its socket, such as "unix://${DEFAULT_SOCKET}"`,
  )
}

function withoutLogin(host: string): string {
  return host.replace(/\/\/[^/@]*@/, '//…@').slice(0, 200)
}
