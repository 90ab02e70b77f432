// IPv6 where the operator gives it to sandboxes: what is allowed arrives, and nothing else of all that it has more than IPv4. In the
// table before, sandboxes have none.

import { type AttackCase, cases } from './case.ts'

/** Of an allowed name; of no name; open to everything; to echoes alone; to one port alone. */
export const GOOD_6 = '2001:db8:a::10'
const OTHER_6 = '2001:db8:a::11'
export const OPEN_6 = '2001:db8:a::20'
export const ECHO_6 = '2001:db8:a::21'
export const PORT_6 = '2001:db8:a::22'
export const ADDRESSES_6 = [GOOD_6, OTHER_6, OPEN_6, ECHO_6, PORT_6]
/** Addresses that no name may open, whatever its owner says. */
export const REBINDING_6: Record<string, string> = {
  ula: 'fc99::7',
  nat64: '64:ff9b::a01:203',
  linklocal: 'fe80::7',
  cloud6: 'fd00:ec2::254',
}

const own = "scapy().IPv6(src=FACTS['own6'], dst=evil6())"
const datagram = 'scapy().UDP(sport=7, dport=port()) / data()'
const asked = (name: string, then: string) => `[dns('${name}', 28), ${then}][-1]`
const multicast = "ether(dst='33:33:00:00:00:01')"

export const IPV6: AttackCase[] = [
  ...cases({ as: 'root', recorded: 'quiet', expect: 'allowed' }, [
    ['I6-name', 'an allowed name by IPv6', asked('good.example', `http('${GOOD_6}', get('good.example'))`)],
    ['I6-address', 'an address that a rule opens', `udp('${OPEN_6}')`],
  ]),
  ...cases({ as: 'all', recorded: 'quiet', expect: 'allowed' }, [
    [
      'I6-echo',
      'an echo where ICMP is open',
      `frame(ether() / scapy().IPv6(src=FACTS['own6'], dst='${ECHO_6}') / scapy().ICMPv6EchoRequest(data=data()))`,
    ],
  ]),
  ...cases({ as: 'root', recorded: 'connection' }, [
    ['I6-tcp', 'an address of nobody', 'tcp(evil6())'],
    ['I6-udp', 'a datagram to it', 'udp(evil6())'],
    [
      'I6-not-learned',
      'an allowed name at an address that was not answered',
      `http('${OTHER_6}', get('good.example'))`,
    ],
    [
      'I6-other-name',
      'another name at the address of an allowed one',
      asked('good.example', `http('${GOOD_6}', get('other.example'))`),
    ],
    ['I6-other-protocol', 'what names no server there', asked('good.example', `tcp('${GOOD_6}', 2222)`)],
    [
      'I6-udp-of-name',
      'a datagram to the address of an allowed name',
      asked('good.example', `udp('${GOOD_6}')`),
    ],
    ['I6-not-echo', 'a datagram where only ICMP is open', `udp('${ECHO_6}')`],
    ['I6-other-port', 'another port than the open one', `tcp('${PORT_6}', 444)`],
    ['I6-dot', 'DNS over TLS', `tcp('${OPEN_6}', 853)`],
    ['I6-neighbour', 'another sandbox, whose range a rule opens', "tcp(FACTS['neighbour6'])"],
    ['I6-gateway', "the gateway's address", "tcp(FACTS['gateway6'])"],
    ['I6-gateway-udp', 'a datagram to it', "udp(FACTS['gateway6'])"],
    ['I6-free', 'the address of no sandbox', "udp(FACTS['free6'])"],
    ['I6-host', "the machine's own address", "tcp('2001:db8:a::1', HOST_PORT)"],
    ['I6-metadata', 'the metadata service of a cloud, whose range a rule opens', "tcp('fd00:ec2::254', 80)"],
    ['I6-nat64', 'a private address behind a translator', "tcp('64:ff9b::a01:203')"],
    ['I6-nat64-metadata', 'metadata behind a translator', "tcp('64:ff9b::a9fe:a9fe', 80)"],
    ['I6-nat64-denied', 'a denied address behind a translator', "udp('64:ff9b::c000:2fa')"],
    ['I6-nat64-local', 'a local translator', "udp('64:ff9b:1::a01:203')"],
    ['I6-6to4', 'a private address by 6to4', "tcp('2002:a01:203::1')"],
    ['I6-teredo', 'Teredo', "udp('2001::1')"],
    ['I6-site-local', 'an address of a site', "udp('fec0::1')"],
    ['I6-unassigned', 'an address that nobody has given out', "udp('4000::1')"],
  ]),
  ...cases(
    { as: 'root', recorded: 'name' },
    Object.entries(REBINDING_6).map(([kind, address]) => [
      `I6-rebind-${kind}`,
      `an allowed name with the address ${address}`,
      `(lambda name: [to(name), dns(name, 28)][-1])(f'r{local.number}.${kind}.rebind.example')`,
    ]),
  ),
  ...cases({ as: 'root', recorded: 'name' }, [
    [
      'I6-dns-outside',
      "a denied name, asked of somebody else's name server",
      "[to(token() + '.evil.test'), dns(token() + '.evil.test', 28, server=evil6())][-1]",
    ],
  ]),
  ...cases({ as: 'all', recorded: 'spoofed' }, [
    [
      'I6-as-neighbour',
      "another sandbox's address",
      `frame(ether() / scapy().IPv6(src=FACTS['neighbour6'], dst='${OPEN_6}') / ${datagram})`,
    ],
    [
      'I6-as-gateway',
      "the gateway's address",
      `frame(ether() / scapy().IPv6(src=FACTS['gateway6'], dst='${OPEN_6}') / ${datagram})`,
    ],
    [
      'I6-as-link-local',
      'a link-local address',
      `frame(ether() / scapy().IPv6(src='fe80::7', dst='${OPEN_6}') / ${datagram})`,
    ],
    [
      'I6-as-mapped',
      'its IPv4 address as an IPv6 one',
      `frame(ether() / scapy().IPv6(src='::ffff:10.1.2.9', dst='${OPEN_6}') / ${datagram})`,
    ],
    [
      'I6-router',
      'a router advertisement',
      `frame(${multicast} / scapy().IPv6(src='fe80::8', dst='ff02::1') / scapy().ICMPv6ND_RA() / data())`,
    ],
  ]),
  ...cases({ as: 'all', recorded: 'connection' }, [
    [
      'I6-own-router',
      'a router advertisement from its own address',
      `frame(${multicast} / scapy().IPv6(src=FACTS['own6'], dst='ff02::1') / scapy().ICMPv6ND_RA() / data())`,
    ],
    [
      'I6-neighbour-advertised',
      "that the gateway's address is its own",
      "frame(ether() / scapy().IPv6(src=FACTS['own6'], dst=FACTS['neighbour6']) / scapy().ICMPv6ND_NA(tgt=FACTS['gateway6'], R=0) / data())",
    ],
    [
      'I6-redirect',
      'a redirect',
      `frame(ether() / ${own} / scapy().ICMPv6ND_Redirect(tgt=FACTS['own6'], dst='${OPEN_6}') / data())`,
    ],
    [
      'I6-groups',
      'a datagram to all nodes',
      `frame(${multicast} / scapy().IPv6(src=FACTS['own6'], dst='ff02::1') / ${datagram})`,
    ],
    [
      'I6-link',
      'a link-local address',
      `frame(ether() / scapy().IPv6(src=FACTS['own6'], dst='fe80::9') / ${datagram})`,
    ],
    [
      'I6-mapped',
      'an IPv4 address as an IPv6 one, on the wire',
      `frame(ether() / scapy().IPv6(src=FACTS['own6'], dst='::ffff:8.8.4.4') / ${datagram})`,
    ],
    [
      'I6-hop-by-hop',
      'options for every hop',
      `frame(ether() / scapy().IPv6(src=FACTS['own6'], dst='${OPEN_6}') / scapy().IPv6ExtHdrHopByHop() / ${datagram})`,
    ],
    [
      'I6-options',
      'options for the destination',
      `frame(ether() / scapy().IPv6(src=FACTS['own6'], dst='${OPEN_6}') / scapy().IPv6ExtHdrDestOpt() / ${datagram})`,
    ],
    [
      'I6-route',
      'a route of its own',
      `frame(ether() / scapy().IPv6(src=FACTS['own6'], dst='${OPEN_6}') / scapy().IPv6ExtHdrRouting(addresses=[evil6()]) / ${datagram})`,
    ],
    [
      'I6-headers',
      'several headers',
      `frame(ether() / scapy().IPv6(src=FACTS['own6'], dst='${OPEN_6}') / scapy().IPv6ExtHdrDestOpt() / scapy().IPv6ExtHdrDestOpt() / ${datagram})`,
    ],
    [
      'I6-fragments',
      'a datagram in fragments, the second of which has the port',
      `frame([ether() / ${own} / scapy().IPv6ExtHdrFragment(m=1, id=9, nh=17) / (struct.pack('!HHHH', 7, port(), 32, 0)), ether() / ${own} / scapy().IPv6ExtHdrFragment(offset=1, id=9, nh=17) / (data() + b'x' * (24 - len(data())))])`,
    ],
    ['I6-4in6', 'IPv4 in IPv6', `frame(ether() / ${own} / scapy().IP(src=OWN, dst=evil()) / ${datagram})`],
    ['I6-6in6', 'IPv6 in IPv6', `frame(ether() / ${own} / scapy().IPv6(dst='${OPEN_6}') / ${datagram})`],
    [
      'I6-echo-elsewhere',
      'an echo where it is not open',
      `frame(ether() / ${own} / scapy().ICMPv6EchoRequest(data=data()))`,
    ],
  ]),
  ...cases({ as: 'all', recorded: 'frame' }, [
    [
      'I6-tagged',
      'a datagram behind the tag of a VLAN',
      `frame(ether() / scapy().Dot1Q(vlan=7) / ${own} / ${datagram})`,
    ],
  ]),
  // What a machine says at every interface, and what is never whole.
  ...cases({ as: 'all', recorded: 'quiet' }, [
    [
      'I6-solicit',
      'who has the address of another',
      "frame(ether(dst='33:33:ff:00:00:01') / scapy().IPv6(src=FACTS['own6'], dst='ff02::1:ff00:1') / scapy().ICMPv6ND_NS(tgt=FACTS['neighbour6']) / data())",
    ],
    [
      'I6-half',
      'a first fragment alone',
      `frame(ether() / scapy().IPv6(src=FACTS['own6'], dst='${OPEN_6}') / scapy().IPv6ExtHdrFragment(m=1, id=7, nh=17) / (struct.pack('!HHHH', 7, port(), 64, 0) + data() + b'x' * (24 - len(data()))))`,
    ],
  ]),
]
