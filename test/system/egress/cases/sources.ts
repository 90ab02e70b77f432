// Sources that are not its own, by IP, hardware address and ARP, and IPv6, which a sandbox has none of.

import { type AttackCase, cases } from './case.ts'

export const SOURCES: AttackCase[] = [
  ...cases({ as: 'all', recorded: 'spoofed' }, [
    [
      'S-neighbour',
      'the source of another sandbox',
      'raw(ip(src=NEIGHBOUR) / scapy().UDP(dport=port()) / data())',
    ],
    ['S-gateway', 'the source of the gateway', 'raw(ip(src=GATEWAY) / scapy().UDP(dport=port()) / data())'],
    [
      'S-host',
      "the source of the host's outer address",
      'raw(ip(src=HOST) / scapy().UDP(dport=port()) / data())',
    ],
    ['S-loopback', 'a loopback source', "raw(ip(src='127.0.0.1') / scapy().UDP(dport=port()) / data())"],
    [
      'S-zero',
      'the source of nobody',
      "frame(ether() / ip(src='0.0.0.0') / scapy().UDP(dport=port()) / data())",
    ],
    [
      'S-broadcast',
      'a broadcast source',
      "frame(ether() / ip(src='255.255.255.255') / scapy().UDP(dport=port()) / data())",
    ],
    ['S-server', 'the source of an allowed server', 'raw(ip(src=GOOD) / scapy().UDP(dport=port()) / data())'],
    [
      'S-outside',
      'the source of the attacker himself',
      'raw(ip(src=evil()) / scapy().UDP(dport=port()) / data())',
    ],
    [
      'S-neighbour-dns',
      'a question in the name of another sandbox',
      "raw(ip(src=NEIGHBOUR, dst=GATEWAY) / scapy().UDP(dport=53) / question(token() + '.tun.example'))",
    ],
    [
      'S-neighbour-land',
      'a packet from another sandbox to itself',
      'raw(ip(src=NEIGHBOUR, dst=NEIGHBOUR) / scapy().UDP(dport=port()) / data())',
    ],
    [
      'S-mac',
      'the hardware address of somebody else, and the source of another sandbox',
      "frame(ether(src='02:00:00:00:00:99') / ip(src=NEIGHBOUR) / scapy().UDP(dport=port()) / data())",
    ],
  ]),
  ...cases({ as: 'all', recorded: 'quiet' }, [
    [
      'S-arp-neighbour',
      'ARP that says that another sandbox lives here',
      "frame(ether(dst='ff:ff:ff:ff:ff:ff') / scapy().ARP(op=2, psrc=NEIGHBOUR, pdst=GATEWAY) / data())",
    ],
    [
      'S-arp-gateway',
      'ARP that says that the gateway lives here',
      "frame(ether(dst='ff:ff:ff:ff:ff:ff') / scapy().ARP(op=2, psrc=GATEWAY, pdst=NEIGHBOUR) / data())",
    ],
    [
      'S-arp-outside',
      'an ARP question about an address of the outside',
      "frame(ether(dst='ff:ff:ff:ff:ff:ff') / scapy().ARP(op=1, pdst=evil()) / data())",
    ],
  ]),
  // The host's end of the pair has no IPv6: these are seen where they come in, and go no further.
  ...cases({ as: 'all', recorded: 'connection' }, [
    [
      'V6-frame-udp',
      'an IPv6 datagram to the outside',
      'frame(ether() / ip6() / scapy().UDP(dport=port()) / data())',
    ],
    ['V6-frame-tcp', 'an IPv6 SYN', "frame(ether() / ip6() / scapy().TCP(dport=port(), flags='S') / data())"],
    ['V6-echo', 'an IPv6 echo request', 'frame(ether() / ip6() / scapy().ICMPv6EchoRequest(data=data()))'],
    [
      'V6-hop-by-hop',
      'IPv6 with a hop-by-hop header',
      'frame(ether() / ip6() / scapy().IPv6ExtHdrHopByHop() / scapy().UDP(dport=port()) / data())',
    ],
    [
      'V6-routing-header',
      'an IPv6 routing header',
      'frame(ether() / ip6() / scapy().IPv6ExtHdrRouting(addresses=[evil6()]) / scapy().UDP(dport=port()) / data())',
    ],
    [
      'V6-fragment',
      'an IPv6 fragment',
      'frame(ether() / ip6() / scapy().IPv6ExtHdrFragment(m=1, id=7) / scapy().UDP(dport=port()) / data())',
    ],
    [
      'V6-multicast',
      'IPv6 to all nodes',
      "frame(ether(dst='33:33:00:00:00:01') / scapy().IPv6(src='fe80::1', dst='ff02::1') / scapy().UDP(dport=port()) / data())",
    ],
    [
      'V6-advertisement',
      'a router advertisement',
      "frame(ether(dst='33:33:00:00:00:01') / scapy().IPv6(src='fe80::1', dst='ff02::1') / scapy().ICMPv6ND_RA() / data())",
    ],
    [
      'V6-4in6',
      'IPv4 in IPv6',
      'frame(ether() / ip6(nh=4) / scapy().IP(src=OWN, dst=evil()) / scapy().UDP(dport=port()) / data())',
    ],
    [
      'V6-neighbour',
      'a question to one machine alone, which carries data',
      'frame(ether() / ip6() / scapy().ICMPv6ND_NS(tgt=evil6()) / data())',
    ],
    [
      'V6-cut-off',
      'IPv6 that ends within its header',
      "frame(ether(type=0x86dd) / (b'\\x60' + data()))",
      { recorded: 'frame' },
    ],
    [
      'V6-tagged',
      'IPv6 behind a tag of no VLAN, which only says what is urgent',
      'frame(ether(type=0x8100) / scapy().Dot1Q(vlan=0) / ip6() / scapy().UDP(dport=port()) / data())',
      { recorded: 'frame' },
    ],
    [
      'V6-source-given',
      'an IPv6 address that it has given itself',
      "[switch6(0), sh('ip -6 address replace fd99::2/64 dev $INTERFACE nodad; ip -6 route replace default via fe80::1 dev $INTERFACE; ip -6 neigh replace fe80::1 lladdr ' + FACTS['hostMac'] + ' dev $INTERFACE'), udp(evil6()), switch6(1)][2]",
      { isAlone: true },
    ],
  ]),
]
