// Where the kernel remembers what it has refused, until egress reads it (refused.ts): connections, and packets under addresses that are
// not their sender's.

/** How long a refused connection is remembered, and so how seldom the same one is told again. */
export const REFUSED_SECONDS = 60
const REFUSED_SET_SIZE = 32_768

/** What all such sets have. */
export const REFUSED_BOUNDS = `flags dynamic,timeout; timeout ${REFUSED_SECONDS}s; size ${REFUSED_SET_SIZE};`

export function formatRefusedSets(): string {
  return `  set refused { type ifname . ipv4_addr . inet_proto . inet_service; ${REFUSED_BOUNDS} }
  set spoofed { type ifname . ipv4_addr; ${REFUSED_BOUNDS} }
`
}

/** Of IPv6, without what is spoofed. */
export const REFUSED_SET_6 = `  set refused6 { type ifname . ipv6_addr . inet_proto . inet_service; ${REFUSED_BOUNDS} }
`

export function formatRefusedSets6(): string {
  return `${REFUSED_SET_6}  set spoofed6 { type ifname . ipv6_addr; ${REFUSED_BOUNDS} }
`
}
