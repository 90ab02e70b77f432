// TLS, and what is neither TLS nor HTTP, to addresses that a name has opened.

import { type AttackCase, cases } from './case.ts'

/** Its address has been answered, and nothing else is known of it. */
const at = (run: string) => `[learn('good.example', 'other.example'), ${run}][-1]`

export const TLS: AttackCase[] = [
  ...cases({ as: 'root', recorded: 'connection' }, [
    [
      'N3-twin-sni',
      'another name behind the same address',
      at("tls(GOOD, token() + '.twin.example', port())"),
    ],
    ['N3-twin-host', 'the same by HTTP', at("http(GOOD, get('twin.example'), number=port())")],
    ['N3-denied-sni', 'a denied name', at("tls(GOOD, token() + '.evil.test', port())")],
    [
      'C1-sni-elsewhere',
      'an allowed name at an address of another one',
      at("tls(OTHER, 'good.example', port())"),
    ],
    ['C1-host-elsewhere', 'the same by HTTP', at("http(OTHER, get('good.example'), number=port())")],
    ['T-no-sni', 'TLS without a name', at('tcp(GOOD, say=record(hello()) + data())')],
    ['T-empty-sni', 'TLS with an empty name', at("tcp(GOOD, say=record(hello('')) + data())")],
    [
      'T-two-sni',
      'TLS with two names',
      at("tcp(GOOD, say=record(hello('good.example', 'evil.test')) + data())"),
    ],
    [
      'T-two-sni-extensions',
      'TLS that names its server in two places',
      at("tcp(GOOD, say=record(hello('good.example', raw=server_name('evil.test'))) + data())"),
    ],
    ['T-sni-address', 'TLS with an address as its name', at('tcp(GOOD, say=record(hello(GOOD)) + data())')],
    [
      'T-sni-null',
      'a name with a zero in it',
      at("tcp(GOOD, say=record(hello('good.example\\0.evil.test')) + data())"),
    ],
    [
      'T-sni-dot',
      'a name with two dots at its end',
      at("tcp(GOOD, say=record(hello('good.example..')) + data())"),
    ],
    ['T-sni-wildcard', 'a name with a star', at("tcp(GOOD, say=record(hello('*.example')) + data())")],
    [
      'T-sni-long',
      'a name of 60,000 letters',
      at("tcp(GOOD, say=record(hello('a' * 16000))[:16000] + data())"),
    ],
    [
      'T-ech',
      'a name that is hidden (ECH)',
      at("tcp(GOOD, say=record(hello('good.example', ech=True)) + data())"),
    ],
    [
      'T-split-packets',
      'a denied name in packets of one byte',
      at("tcp(GOOD, say=[bytes([b]) for b in record(hello('evil.test'))[:200]] + [data()])"),
    ],
    [
      'T-split-records',
      'a denied name across two records',
      at("(lambda h: tcp(GOOD, say=record(h[:60]) + record(h[60:]) + data()))(hello('evil.test'))"),
    ],
    [
      'T-split-records-tiny',
      'a denied name in records of one byte',
      at(
        "(lambda h: tcp(GOOD, say=b''.join(record(h[i:i+1]) for i in range(len(h))) + data()))(hello('evil.test'))",
      ),
    ],
    [
      'T-record-empty',
      'an empty record before the ClientHello',
      at("tcp(GOOD, say=record(b'') + record(hello('good.example')) + data())"),
    ],
    [
      'T-two-hellos',
      'an allowed ClientHello and a denied one behind it',
      at("tcp(GOOD, say=record(hello('good.example') + hello('evil.test')) + data())"),
    ],
    [
      'T-alert-first',
      'an alert before the ClientHello',
      at("tcp(GOOD, say=record(b'\\1\\0', 21) + record(hello('good.example')) + data())"),
    ],
    [
      'T-ccs-middle',
      'something else in the middle of the ClientHello',
      at(
        "(lambda h: tcp(GOOD, say=record(h[:40]) + record(b'\\1', 20) + record(h[40:]) + data()))(hello('good.example'))",
      ),
    ],
    [
      'T-sslv2',
      'the ClientHello of SSL 2',
      at("tcp(GOOD, say=b'\\x80\\x2e\\1\\3\\1\\0\\x15\\0\\0\\0\\x10' + data() + b'\\0' * 40)"),
    ],
    [
      'T-server-hello',
      'a ServerHello from a client',
      at("tcp(GOOD, say=record(b'\\2' + hello('good.example')[1:]) + data())"),
    ],
    [
      'T-length-lies',
      'lengths that do not agree',
      at("(lambda h: tcp(GOOD, say=record(h[:1] + b'\\0\\1\\0' + h[4:]) + data()))(hello('good.example'))"),
    ],
    [
      'T-oversize',
      'a ClientHello that never ends',
      at("tcp(GOOD, say=record(b'\\1\\xff\\xff\\xff' + b'\\0' * 16000) * 3 + data())"),
    ],
    [
      'T-never-ends',
      'the beginning of a ClientHello, and then nothing',
      at("tcp(GOOD, say=record(hello('good.example'))[:20] + b'')"),
      { recorded: 'quiet' },
    ],
    ['N9-ssh', 'ssh to an allowed name', at("tcp(GOOD, say=b'SSH-2.0-' + data() + b'\\r\\n')")],
    ['N9-smtp', 'mail to an allowed name', at("tcp(GOOD, say=b'\\x00EHLO ' + data())")],
    ['N9-binary', 'bytes of no protocol', at("tcp(GOOD, say=b'\\x17\\3\\3' + data())")],
    ['N9-socks', 'a SOCKS greeting', at("tcp(GOOD, say=b'\\5\\1\\0' + data())")],
    ['N9-postgres', 'a database', at("tcp(GOOD, say=b'\\0\\0\\0\\x08\\x04\\xd2\\x16\\x2f' + data())")],
    [
      'N9-starttls',
      'TLS that begins within another protocol',
      at("tls(GOOD, 'good.example', port(), before=b'EHLO x\\r\\nSTARTTLS\\r\\n')"),
    ],
    ['N9-icmp', 'an allowed address by another protocol', at('udp(GOOD)')],
  ]),
]
