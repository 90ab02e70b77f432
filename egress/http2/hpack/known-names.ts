// What is known of a field by its name when it is sent: where it is in the static table, and whether it is worth a place in the other one.

import { LAST_STATIC, STATIC_NAMES } from './static-table.ts'

export type KnownName = {
  /** The indexes of its entries in the static table, which stand together. When it has none the first is 0, and the last before it. */
  first: number
  last: number
  /** It differs from one message to the next: in the table it would be of no use, and would drive out what is. */
  isVarying: boolean
}

/** Besides these there is nothing to say of a name beforehand. */
export const UNKNOWN_NAME: KnownName = Object.freeze({ first: 0, last: -1, isVarying: false })

const VARYING = [
  // What is asked for, and of which part or state of it.
  ...[':path', 'range', 'if-match', 'if-none-match', 'if-range', 'if-modified-since', 'if-unmodified-since'],
  // What one answer, or one body, is.
  ...['content-length', 'content-range', 'content-disposition', 'content-location', 'content-md5', 'digest'],
  ...['content-digest', 'repr-digest', 'etag', 'last-modified', 'location', 'link', 'refresh'],
  // When it is.
  ...['date', 'expires', 'age', 'retry-after', 'server-timing', 'grpc-timeout', 'x-amz-date'],
  // Given out once, or signed for one request.
  ...['set-cookie', 'signature', 'signature-input', 'x-amz-content-sha256', 'idempotency-key'],
  ...['grpc-message', 'grpc-status-details-bin'],
  // The names of requests and of what belongs to them, each a new one.
  ...['x-request-id', 'request-id', 'x-correlation-id', 'traceparent', 'tracestate', 'x-amzn-trace-id'],
  ...[
    'x-amzn-requestid',
    'x-amz-request-id',
    'x-amz-id-2',
    'x-ms-request-id',
    'x-github-request-id',
    'cf-ray',
  ],
  // How much may still be asked.
  ...['x-ratelimit-remaining', 'x-ratelimit-reset', 'ratelimit'],
]

export const KNOWN_NAMES: ReadonlyMap<string, KnownName> = listNames()

function listNames(): Map<string, KnownName> {
  const names = new Map<string, KnownName>()
  for (const name of VARYING) names.set(name, { first: 0, last: -1, isVarying: true })
  for (let index = 1; index <= LAST_STATIC; index++) {
    const name = STATIC_NAMES[index]!
    const known = names.get(name) ?? { ...UNKNOWN_NAME }
    names.set(name, { ...known, first: known.first || index, last: index })
  }
  return names
}
