// That secrets do arrive where they belong, by every way that there is, with the trust of common programs; and placeholders.

import { rows, type VaultCase } from './case.ts'
import { NAMED_PORT } from './names.ts'

const GIVEN = { arrives: 'secret', reads: /answered|"DataReceived|b'answered'/ } as const
/** Slow to start, all the more beside others. */
const SLOWLY = { arrives: 'secret', isAlone: true } as const
const UNGIVEN = { arrives: 'plain' } as const

export const CONTROLS: readonly VaultCase[] = [
  ...rows('V-control', [
    ['get', 'control: a GET', 'ask()', { ...GIVEN, event: /binding "api".*sets Authorization/ }],
    ['post', 'control: a POST', 'ask(method="POST", body="b")', GIVEN],
    [
      'chunks',
      'control: a body in chunks',
      'raw("POST PATH HTTP/1.1\\r\\nHost: HOST\\r\\nConnection: close\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n1\\r\\nb\\r\\n0\\r\\n\\r\\n")',
      GIVEN,
    ],
    ['twin', 'control: the other server at the same address', 'ask(name=TWIN)', GIVEN],
    ['basic', 'control: with a user and a password', 'ask(name="basic.bound.example")', GIVEN],
    ['plain', 'control: by plain HTTP where a binding says so', 'ask_plain()', GIVEN],
    ['h2', 'control: by HTTP/2', 'http2(fields())', GIVEN],
    ['h2-post', 'control: a body by HTTP/2', 'http2(fields(method="POST"), body=b"b")', GIVEN],
    ['proxy', 'control: through the proxy', 'say(dial(over=tunnel_to(API)), request())', GIVEN],
    [
      'named-port',
      'control: to another port that a binding names',
      `say(dial(TWIN, number=${NAMED_PORT}), request(host=TWIN + ":${NAMED_PORT}"))`,
      GIVEN,
    ],
    [
      'named-port-proxy',
      'control: the same through the proxy',
      `say(dial(TWIN, over=tunnel_to(TWIN, ${NAMED_PORT})), request(host=TWIN + ":${NAMED_PORT}"))`,
      GIVEN,
    ],
    [
      'upper',
      'control: the name in large letters',
      'say(dial(sni=API.upper()), request(host=API.upper()))',
      GIVEN,
    ],
    ['port', 'control: the Host with its port', 'say(dial(), request(host=API + ":443"))', GIVEN],
    [
      'absolute',
      'control: a target with its server in it',
      'say(dial(), request(path=f"https://{API}{target()}"))',
      GIVEN,
    ],
    [
      'expect',
      'control: a body that waits to be asked for',
      'curl("-H", "Expect: 100-continue", "-d", "b" * 2000, f"https://{API}{target()}")',
      GIVEN,
    ],
    [
      'version-12',
      'control: by TLS 1.2',
      'say(dial(versions=(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)), request())',
      GIVEN,
    ],
  ]),
  ...rows('C13-trust', [
    ['curl', 'control: curl trusts what it is shown', 'shell(f"curl -sS https://{API}{target()}")', GIVEN],
    [
      'curl-h2',
      'control: curl by HTTP/2',
      'shell(f"curl -sS --http2 https://{H2}{target()}")',
      { arrives: 'secret', reads: /answered/ },
    ],
    [
      'python',
      'control: Python',
      `shell(f"python3 -c 'import urllib.request as r; print(r.urlopen(\\"https://{API}{target()}\\").read())'")`,
      GIVEN,
    ],
    [
      'node',
      'control: Node',
      `shell(f"node -e 'fetch(\\"https://{API}{target()}\\").then((r) => r.text()).then(console.log)'")`,
      { ...SLOWLY, reads: /answered/ },
    ],
    [
      'git',
      'control: git',
      'shell(f"git ls-remote https://{API}{target()}; echo asked")',
      { arrives: 'secret', reads: /asked/ },
    ],
    [
      'pip',
      'control: pip',
      'shell(f"pip download --disable-pip-version-check --retries 0 --no-deps -d /tmp -i https://{API}{target()} nothing > /dev/null 2>&1; echo asked")',
      { ...SLOWLY, reads: /asked/ },
    ],
    [
      'npm',
      'control: npm',
      'shell(f"npm view --fetch-retries 0 --registry https://{API}{target()} nothing > /dev/null 2>&1; echo asked")',
      { ...SLOWLY, reads: /asked/ },
    ],
    [
      'system',
      'control: openssl by the file of the image alone',
      'shell(f"printf \'GET {target()} HTTP/1.1\\\\r\\\\nHost: {API}\\\\r\\\\nConnection: close\\\\r\\\\n\\\\r\\\\n\' | env -u SSL_CERT_FILE openssl s_client -quiet -verify_return_error -CAfile /etc/ssl/certs/ca-certificates.crt -connect {API}:443 -servername {API}")',
      GIVEN,
    ],
    [
      'read-only',
      'the files of authorities cannot be changed from within',
      'shell("for f in /opt/opensandbox/mitmproxy-ca-cert.pem /opt/opensandbox/merged-ca-certificates.pem /opt/opensandbox/trust/truststore.jks /etc/ssl/certs/ca-certificates.crt; do test -s $f && ! (echo x >> $f) 2>/dev/null && ! rm -f $f 2>/dev/null && ! mv $f /tmp/moved 2>/dev/null && echo held; done")',
      { reads: /(held\s+){4}/ },
    ],
  ]),
  ...rows('V-place', [
    [
      'query',
      'control: a placeholder in the query',
      'ask(path=target(query=f"?k={PLACEHOLDER}"))',
      { ...GIVEN, lacks: /PLACE-OF/ },
    ],
    [
      'header',
      'control: a placeholder in a header',
      'ask(more=f"X-Other: {PLACEHOLDER}\\r\\n")',
      { ...GIVEN, lacks: /PLACE-OF/ },
    ],
    [
      'body',
      'control: a placeholder in a body, twice',
      'ask(method="POST", body=f"{PLACEHOLDER} {PLACEHOLDER}")',
      { ...GIVEN, lacks: /PLACE-OF/ },
    ],
    [
      'path',
      'a placeholder where none is meant to be',
      'ask(path=f"/v1/{PLACEHOLDER}/{token()}")',
      { arrives: 'secret', reads: /answered/ },
    ],
    ['name', 'a placeholder as the name of a header', 'ask(more=f"{PLACEHOLDER}: 1\\r\\n")'],
    [
      'host',
      'a placeholder as the Host',
      'say(dial(), request(host=PLACEHOLDER))',
      { arrives: 'nothing', reads: /421|400/ },
    ],
    [
      'stranger',
      'a placeholder for a server that is not bound',
      'say(dial(STRANGER), request(host=STRANGER, path=target(query=f"?k={PLACEHOLDER}"), more=f"X: {PLACEHOLDER}\\r\\n"))',
      UNGIVEN,
    ],
    [
      'twin',
      'a placeholder of another binding',
      'ask(name=TWIN, more=f"X: {PLACEHOLDER}\\r\\n")',
      { arrives: 'secret' },
    ],
    [
      'scope',
      'a placeholder out of the scope of its binding',
      'ask(path=target(root="/admin", query=f"?k={PLACEHOLDER}"), more=f"X: {PLACEHOLDER}\\r\\n")',
      UNGIVEN,
    ],
    [
      'chunks',
      'a placeholder split over chunks',
      'raw(f"POST PATH HTTP/1.1\\r\\nHost: HOST\\r\\nConnection: close\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n4\\r\\n{PLACEHOLDER[:4]}\\r\\n{len(PLACEHOLDER) - 4:x}\\r\\n{PLACEHOLDER[4:]}\\r\\n0\\r\\n\\r\\n")',
    ],
    ['encoded', 'a placeholder with an escape in it', 'ask(path=target(query="?k=%50" + PLACEHOLDER[1:]))'],
    [
      'trailer',
      'a placeholder in a trailer',
      'raw(f"POST PATH HTTP/1.1\\r\\nHost: HOST\\r\\nConnection: close\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\nX: {PLACEHOLDER}\\r\\n\\r\\n")',
    ],
    [
      'gzip',
      'a placeholder in a body that says to be compressed',
      'ask(method="POST", more="Content-Encoding: gzip\\r\\n", body=PLACEHOLDER)',
    ],
    [
      'location',
      'a placeholder that comes back in a Location',
      'ask("echo-encoded", path=target("echo-encoded", query=f"?k={PLACEHOLDER}"))',
      { reads: /REDACTED/ },
    ],
  ]),
]
