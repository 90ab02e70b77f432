// Whether the network is that of the machine itself, in which rules for a pod would close the machine.

import { existsSync } from 'node:fs'

/** The kernel has it for the machine alone: what it limits is shared by all networks. */
const OF_THE_MACHINE = '/proc/sys/net/core/netdev_max_backlog'

export function isNetworkOfMachine(exists: (path: string) => boolean = existsSync): boolean {
  return exists(OF_THE_MACHINE)
}
