// Two installations can run on one machine when their data directories differ. All that they share with the rest of the
// machine (sockets, interface names, cgroups, nftables tables) is named after the data directory.

import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** What the names of the sockets of gateway processes begin with. */
export const GATEWAY_SOCKET_PREFIX = 'gateway-'

export type Instance = {
  /** Four hex characters, the same for the same data directory. */
  key: string
  /** The beginning of every interface name of this installation: 7 characters, so 8 are left for the sandbox. */
  interfacePrefix: string
  /** Sockets live here: short, because a socket's path has at most 107 bytes, and gone after a reboot. */
  runDir: string
  /** Control's API, for the gateway. */
  controlSocket: string
  /** Control's routes feed, for the gateway alone. */
  feedSocket: string
  /** Egress's policy API, reached through the gateway as port 18080 of a sandbox. */
  policySocket: string
  /** Egress's administration, for control alone. */
  egressSocket: string
}

/** The names that belong to the installation in `dataDir`, which must exist. `runRoot` is `/run/opensandbox` by default. */
export function instanceOf(dataDir: string, runRoot = '/run/opensandbox'): Instance {
  const hash = createHash('sha256').update(realpathSync(dataDir)).digest('hex')
  const runDir = join(runRoot, hash.slice(0, 12))
  return {
    key: hash.slice(0, 4),
    interfacePrefix: `osb${hash.slice(0, 4)}`,
    runDir,
    controlSocket: join(runDir, 'control.sock'),
    feedSocket: join(runDir, 'feed.sock'),
    policySocket: join(runDir, 'policy.sock'),
    egressSocket: join(runDir, 'egress.sock'),
  }
}

/** Where a gateway process of this number answers control (lib/api/gateway-admin.ts). */
export function gatewaySocketOf({ runDir }: Instance, pid: number): string {
  return join(runDir, `${GATEWAY_SOCKET_PREFIX}${pid}.sock`)
}

/**
 * Makes the directory of an installation's sockets, closed to everyone else. The one above it is open to pass: the roots of
 * sandboxes are mounted below, and their root is nobody outside.
 */
export function makeRunDir({ runDir }: Instance): void {
  const runRoot = dirname(runDir)
  mkdirSync(runRoot, { recursive: true })
  chmodSync(runRoot, 0o755)
  mkdirSync(runDir, { recursive: true, mode: 0o700 })
}
