// Requests for other paths and methods than are bound, said in every way that some server goes by.

import { type Row, rows, type VaultCase } from './case.ts'

const UNGIVEN = { arrives: 'plain' } as const
const DEPENDS = { arrives: 'nothing', reads: /^HTTP\/1\.1 400/, event: /depends on how/ } as const

export const SCOPES: readonly VaultCase[] = [
  ...rows('C6-path', [
    ...[
      '/v1/../admin',
      '/v1/%2e%2e/admin',
      '/v1/..%2fadmin',
      '/v1/%252e%252e/admin',
      '/v1/%25252e%25252e/admin',
      '/v1//../../admin',
      '//v1',
      '/v1/..;/admin',
      '/v1/x\\\\..\\\\..\\\\admin',
      '/v1/..%5cadmin',
      '/v1/%c0%ae%c0%ae/admin',
      '/v1/..%c0%af../admin',
      '/v1/%u002e%u002e/admin',
      '/v1/..%20/admin',
      '/v1/.../admin',
      '/v1/..%00/admin',
      '/v1/..%09/admin',
      '/v1/x%00/../../admin',
    ].map(
      (path, at): Row => [
        `${at + 1}`,
        `the path ${path}, where /v1/* is bound`,
        `ask(path=f"${path}/{token()}")`,
        DEPENDS,
      ],
    ),
    ...['/v1;x/../admin', '/v1\\\\..\\\\admin', '/V1', '/admin', '/v10', '/v2/../v3', ''].map(
      (path, at): Row => [
        `out-${at + 1}`,
        `the path ${path}/…, where /v1/* is bound`,
        `ask(path=f"${path}/{token()}")`,
        UNGIVEN,
      ],
    ),
    [
      'absolute',
      'dots in a target with its server',
      'ask(path=f"https://{API}/v1/../admin/{token()}")',
      DEPENDS,
    ],
    [
      'h2',
      'dots by HTTP/2',
      'http2(fields(path=f"/v1/%2e%2e/admin/{token()}"))',
      { arrives: 'nothing', reads: /400/ },
    ],
    ...['X-Original-URL', 'X-Rewrite-URL'].map(
      (name): Row => [
        name.toLowerCase(),
        `another path by ${name}`,
        `ask(more=f"${name}: /admin/{token()}\\r\\n")`,
        DEPENDS,
      ],
    ),
  ]),
  ...rows('V-method', [
    ...['HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PROPFIND'].map(
      (method): Row => [
        method.toLowerCase(),
        `${method}, which is not bound`,
        `ask(method="${method}")`,
        UNGIVEN,
      ],
    ),
    ...['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', 'X_HTTP_Method_Override'].map(
      (name): Row => [
        name.toLowerCase(),
        `another method by ${name}`,
        `ask(method="POST", more="${name}: DELETE\\r\\n")`,
        DEPENDS,
      ],
    ),
    [
      'query',
      'another method in the query',
      'ask(method="POST", path=target(query="?a=b&_method=delete"))',
      DEPENDS,
    ],
    [
      'query-encoded',
      'the same with an escape',
      'ask(method="POST", path=target(query="?%5Fmethod=DELETE"))',
      DEPENDS,
    ],
    [
      'h2',
      'another method by HTTP/2',
      'http2(fields(method="POST", more=[("x-http-method-override", "PATCH")]))',
      { arrives: 'nothing', reads: /400/ },
    ],
    [
      'same',
      'the same method said twice',
      'ask(method="POST", more="X-HTTP-Method-Override: GET\\r\\n")',
      { arrives: 'secret' },
    ],
  ]),
]
