// By what the kernel knows whose a connection is. What a sandbox's policy lets through marks its connection: with TCP by the sandbox, with
// all else by the sandbox and its policy, because who sends without being answered would not notice that a stricter policy has ended
// the connection. A mark that is not the sandbox's own is never replaced: the next sandbox at an address would take over a connection of
// the one before by sending the first packet that fits.

import { crc32 } from 'node:zlib'

/** Connections may have greater marks, which then say something else than the policy that has let them begin. */
export const MAX_POLICY_MARK = 0x7fff_ffff
/** Those of TCP have one of these instead, which says whose they are. */
const OWNER_MARKS = { first: 0xc000_0000, count: 0x4000_0000 }
/** Of a policy's mark: what the policy decides; the other bits say whose it is, and are not all zero. */
const POLICY_BITS = 15
const OWNERS = 2 ** 16 - 1
const OWNER_MASK = 2 ** 32 - 2 ** POLICY_BITS

export type ConnectionMarks = {
  /** Of TCP, under whatever policy. */
  tcp: number
  /** Of all else. */
  policy: number
  /** What the marks of all policies of this sandbox have in common, as nft compares it. */
  anyPolicy: string
}

/** The same rules give the same marks, so that what builds them once more ends nothing. */
export function connectionMarks(id: string, rules: string): ConnectionMarks {
  const owner = ((crc32(id) % OWNERS) + 1) * 2 ** POLICY_BITS
  return {
    tcp: OWNER_MARKS.first + (crc32(id) % OWNER_MARKS.count),
    policy: owner + (crc32(rules) % 2 ** POLICY_BITS),
    anyPolicy: `ct mark & ${OWNER_MASK} == ${owner}`,
  }
}

/**
 * What a server sends to who has only asked to begin is not for it: it still has a connection open by these ports, of which the kernel
 * has forgotten whose it was, and tells where that stands. Answered, it would go on with it.
 */
export const FOR_NOBODY = 'ct status & assured == 0 tcp flags & (syn | rst) == 0 drop'

/** Of TCP, marks of others on the machine are not taken for one that says whose a connection is. */
const IS_OWNED = `ct mark & ${OWNER_MARKS.first} == ${OWNER_MARKS.first}`

/**
 * What programs of the host send to who has asked them: those that a rule opens go on sending to an address, too. Nothing is marked of what
 * egress itself is asked.
 */
export function formatFromHost(own: string): string {
  return `  chain output {
    type filter hook output priority filter - 1; policy accept;
    oifname ${own} ct state established ct direction reply ct mark != 0 goto from_host
  }
  chain from_host {
    ${IS_OWNED} goto to_sandbox
    meta l4proto tcp accept
    meta l4proto udp ct original proto-dst 53 accept
    goto to_sandbox
  }
`
}

/**
 * The chains that are the same for all. Through `begin` goes what is part of no connection that is known to be the sandbox's own: back
 * comes what may begin one. To `not_own` goes what is part of another's. `refuse` and `lost` are chains of the table.
 */
export function formatOwnConnections({ notOwn }: { notOwn: string }): string {
  return `  chain begin {
    ct state invalid drop
    ct state new tcp flags & (fin | syn | rst | ack) != syn goto refuse
    ct mark 0 return
    ct status confirmed goto refuse
  }
  chain not_own {
    ${notOwn}
  }
`
}
