// A connection of a sandbox that somebody has accepted, and where it is to go.

import type { Socket } from 'node:net'
import type { Sandbox } from '../sandbox-table.ts'

export type Destination = { address: string; port: number }

export type Accepted = {
  client: Socket
  sandbox: Sandbox
  to: Destination & {
    /** The name that was asked for before; what is said on the wire must be the same. */
    name?: string
    /** The address itself is open, so that nothing need be said on the wire, and whatever is said passes. */
    isOpen?: boolean
    /** How it came, when not by itself. */
    via?: string
  }
  /** What the client has sent already. */
  first?: Buffer
}

export type BeginRelay = (accepted: Accepted) => void
