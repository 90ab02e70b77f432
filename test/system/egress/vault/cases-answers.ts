// A server that is bound and repeats what it is sent, or leads elsewhere.

import { rows, type VaultCase } from './case.ts'

const HIDDEN = { arrives: 'secret', reads: /\[REDACTED\]/ } as const
const CUT = { reads: /^HTTP\/1\.1 502|ConnectionReset|SSLEOF|reset/ } as const
const TOLD = { isTold: true } as const
const follow = (what: string) => `curl("-L", "--location-trusted", f"https://{API}{target('${what}')}")`

export const ANSWERS: readonly VaultCase[] = [
  ...rows('V-redirect', [
    ...['301', '302', '303', '307', '308'].map((status): [string, string, string] => [
      `${status}-other`,
      `a ${status} to a server that is allowed and not bound`,
      follow(`redirect-${status}-other`),
    ]),
    [
      '308-post',
      'a 308 with its body',
      `curl("-L", "--location-trusted", "-d", "b", f"https://{API}{target('redirect-308-other')}")`,
    ],
    ['plain', 'a redirect to plain HTTP', follow('redirect-302-plain')],
    ['port', 'a redirect to another port', follow('redirect-302-port')],
    ['user', 'a redirect whose Location has the name as a user', follow('redirect-302-user')],
    ['relative', 'a redirect without a scheme', follow('redirect-302-relative')],
    ['scope', 'a redirect to a path that is not bound', follow('redirect-302-scope')],
    ['twin', 'a redirect to another bound server', follow('redirect-302-twin')],
  ]),
  ...rows('C5-echo', [
    ['head', 'a server that repeats it in fields, cookies, links and its reason', 'ask("echo-head")', HIDDEN],
    ['encoded', 'in other ways of writing it', 'ask("echo-encoded")', HIDDEN],
    [
      'decoded',
      'the user and the password that stand in it',
      'ask("echo-decoded", name="basic.bound.example")',
      HIDDEN,
    ],
    ['name', 'in the name of a field', 'ask("echo-name")', { arrives: 'secret', reads: /answered|502/ }],
    ['interim', 'in a 103', 'ask("echo-interim")', HIDDEN],
    ['trailer', 'in a trailer', 'ask("echo-trailer")', HIDDEN],
    ['extension', 'in extensions of chunks', 'ask("echo-extension")', { arrives: 'secret', reads: /ok/ }],
    ['fold', 'in a field that goes on in the next line', 'ask("echo-fold")', CUT],
    ['lf', 'after a line feed alone', 'ask("echo-lf")', CUT],
    ['09', 'as an answer without a head', 'ask("echo-09")', CUT],
    ['two-lengths', 'in an answer with two lengths', 'ask("echo-two-lengths")', CUT],
    ['switch', 'in a switch to a protocol that nobody asked for', 'ask("echo-switch")', CUT],
    [
      'socket',
      'in the head of a WebSocket',
      'ask("echo-socket", more="Upgrade: websocket\\r\\nSec-WebSocket-Key: eA==\\r\\nSec-WebSocket-Version: 13\\r\\n", end="Connection: Upgrade\\r\\n\\r\\n")',
      HIDDEN,
    ],
    ['trace', 'by TRACE, which no binding can be for', 'ask(method="TRACE")', { arrives: 'plain' }],
    [
      'trace-small',
      'by TRACE in small letters',
      'ask(method="trace")',
      { arrives: 'nothing', reads: /^HTTP\/1\.1 400/ },
    ],
    [
      'later',
      'to a request that got none, on the same connection',
      'say(dial(), request("keep", end="\\r\\n"), request(path=target("last", root="/public")))',
      { reads: /X-Last/, isTold: true },
    ],
    ['plain', 'by plain HTTP', 'ask_plain("echo-head")', HIDDEN],
    ['h2', 'by HTTP/2: in fields and trailers', 'http2(fields(path=target("echo-head")))', HIDDEN],
    [
      'h2-encoded',
      'by HTTP/2: in base64, as gRPC does',
      'http2(fields(path=target("echo-encoded")))',
      HIDDEN,
    ],
    [
      'h2-name',
      'by HTTP/2: in the name of a field',
      'http2(fields(path=target("echo-name")))',
      { arrives: 'secret', reads: /answered/ },
    ],
    ['h2-interim', 'by HTTP/2: in a 103', 'http2(fields(path=target("echo-interim")))', HIDDEN],
    [
      'h2-push',
      'by HTTP/2: in what a server pushes',
      'http2(fields(path=target("echo-push")), push=True)',
      { reads: /answered/ },
    ],
    ['h2-trace', 'by HTTP/2: TRACE', 'http2(fields(method="TRACE"))', { arrives: 'plain' }],
    [
      'h2-trace-small',
      'by HTTP/2: TRACE in small letters',
      'http2(fields(method="trace"))',
      { arrives: 'nothing' },
    ],
  ]),
  // The limits that the documentation names.
  ...rows('C5-told', [
    ['body', 'a server that repeats it in a body', 'ask("echo-body")', TOLD],
    ['chunks', 'in a body, a chunk for each character', 'ask("echo-chunks")'],
    ['gzip', 'in a compressed body', 'ask("echo-gzip")'],
    ['range', 'in a range of a body', 'ask("echo-range")'],
    [
      'frame',
      'in a frame of a WebSocket',
      'ask("echo-socket-frame", more="Upgrade: websocket\\r\\n", end="Connection: Upgrade\\r\\n\\r\\n")',
      TOLD,
    ],
  ]),
]
