// What the gateway takes from the common configuration, and its own flag.

import { type Config, isLoopback, needsKey } from '../lib/config.ts'
import { hostOfPublicAddress } from '../lib/public-address.ts'
import type { AccessSettings } from './access/access.ts'
import { nameOf } from './routing/host.ts'

export const HELP = '--help'

export const USAGE = `Usage: npm run gateway -- [flags]

The one public port: leads to sandboxes by host name, header or path, and to control for everything else.

  --config PATH     the configuration, ~/.sandbox.toml by default
  --host ADDRESS    where it listens, 127.0.0.1 by default
  --port PORT       8080 by default
  --data-dir PATH   where the state lies; control is found by it
  --runtime NAME    not used here
  --help            this text
`

/** How requests are judged under this configuration. */
export function accessSettings(config: Config): AccessSettings {
  const { server, ingress } = config
  const eip = server.eip === undefined ? '' : hostOfPublicAddress(server.eip)
  const own = [eip, isLoopback(server.host) ? '' : server.host, ingress.domain]
  return {
    hasApiKey: needsKey(config),
    guardsTraffic: config.tenants !== undefined,
    domain: ingress.domain,
    keys: ingress.secureAccess?.keys ?? new Map(),
    hasUris: ingress.gateway?.route === 'uri',
    ownHosts: new Set(own.filter((host) => host !== '').map((host) => nameOf(host))),
  }
}

/** One sentence on why the port cannot be listened on. */
export function describeListenError(
  code: string | undefined,
  message: string,
  { host, port }: { host: string; port: number },
): string {
  if (code === 'EADDRINUSE')
    return `Port ${port} on ${host} is in use: stop what uses it, or choose another with --port`
  if (code === 'EADDRNOTAVAIL') return `Cannot listen on "${host}": this machine has no such address`
  if (code === 'EACCES') return `Cannot listen on port ${port}: ports below 1024 need root`
  return `Cannot listen on ${host} port ${port}: ${message}`
}
