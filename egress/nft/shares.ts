// How the kernel keeps sandboxes out of each other's way in what they share there: the sets of what was refused, which egress reads, and
// the questions that it gets. Who sends a lot uses up its own share; that there was more is noted by an address that nothing is sent to,
// and nothing of others is lost.

import { REFUSED_SECONDS } from './refused-sets.ts'

/**
 * Of one sandbox so many that are new at once and then a second, and a few of what has no ports: at most 700 and 160 are kept of it in
 * the minute for which they are.
 */
export const TELL_MOST = 'limit rate over 5/second burst 400 packets'
export const TELL_FEW = 'limit rate over 1/second burst 100 packets'
/** What no sandbox needs is not to come as far as egress, which counts questions one by one. */
const ASK_RATE = { perSecond: 2000, burst: 4000 }
const MAX_SANDBOXES = 4096
/** Stands among what was refused for that there was more of it. */
export const UNTOLD = '0.0.0.0'
const NOTE_UNTOLD = `add @refused { iifname . ${UNTOLD} . 255 . 0 }`

/** The sets by which the kernel counts. */
export function formatShares(names = ['telling', 'telling_few', 'asking']): string {
  return names
    .map(
      (name) =>
        `  set ${name} { type ifname; flags dynamic,timeout; timeout ${REFUSED_SECONDS}s; size ${MAX_SANDBOXES}; }\n`,
    )
    .join('')
}

/** The chain in which a packet is remembered that goes no further. */
export function formatRemember({ ipv6 }: { ipv6: boolean }): string {
  const known = (ip: string, set: string) =>
    `    meta l4proto { tcp, udp } iifname . ${ip} daddr . meta l4proto . th dport @${set} return\n`
  const add = (ip: string, set: string) =>
    `    meta l4proto { tcp, udp } add @${set} { iifname . ${ip} daddr . meta l4proto . th dport }
    meta l4proto != { tcp, udp } add @${set} { iifname . ${ip} daddr . meta l4proto . 0 }
`
  return `  chain remember {
${known('ip', 'refused')}${ipv6 ? known('ip6', 'refused6') : ''}    meta l4proto { tcp, udp } update @telling { iifname ${TELL_MOST} } ${NOTE_UNTOLD} return
    meta l4proto != { tcp, udp } update @telling_few { iifname ${TELL_FEW} } ${NOTE_UNTOLD} return
${add('ip', 'refused')}${ipv6 ? add('ip6', 'refused6') : ''}  }
`
}

/** The chains for what comes from an address that is not the sandbox's own. */
export function formatSpoofing({ ipv6 }: { ipv6: boolean }): string {
  const chain = (ip: string, family: string) => `  chain spoofing${family} {
    iifname . ${ip} saddr @spoofed${family} drop
    update @telling_few { iifname ${TELL_FEW} } ${NOTE_UNTOLD} drop
    add @spoofed${family} { iifname . ${ip} saddr } drop
  }
`
  return `${chain('ip', '')}${ipv6 ? chain('ip6', '6') : ''}`
}

/** Well above what is answered, so that it is egress which refuses, and says so. */
export function formatAskRate(dnsPerSecond = 0): string {
  const perSecond = Math.max(ASK_RATE.perSecond, 4 * dnsPerSecond)
  return `limit rate over ${perSecond}/second burst ${Math.max(ASK_RATE.burst, 2 * perSecond)} packets`
}
