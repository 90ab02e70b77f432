// What becomes of one request of HTTP/2: refused, or sent on as another head, perhaps with what it gets. Pure.

import type { RequestHead } from '../http2/head.ts'
import type { FieldToSend } from '../http2/hpack/encoder.ts'
import type { Injection, VaultServer, VaultView } from '../vault/port.ts'
import { isBodyHeld } from './held-body.ts'
import { firstOf } from './http1-head.ts'
import { forwardedHead } from './http2-fields.ts'
import { checkAuthority, judgeRequest, malformed, type Refusal } from './judge-request.ts'
import { overridesOf } from './overrides.ts'

export type Http2RequestPlan = {
  /** As they go on. */
  fields: FieldToSend[]
  injection: Injection | undefined
  /** Its body is sent when it is whole, as texts in it are replaced. */
  holdsBody: boolean
  /** It waits to be asked for a body that is held, which the server cannot do. */
  asksForContinue: boolean
}

/** As HTTP/1 is read, too. */
const METHOD = /^[A-Z][A-Z-]{0,31}$/
const TARGET = /^(\/[\x21\x22\x24-\x7e]*|\*)$/
const EXPECT = 'expect'

export function planHttp2Request(
  head: RequestHead,
  { isWhole, server, vault }: { isWhole: boolean; server: VaultServer; vault: VaultView | undefined },
): Http2RequestPlan | { refusal: Refusal; binding?: string } {
  const { method, scheme, path: target, authority, host, fields } = head
  const wrongServer =
    checkAuthority(authority ?? host, server) ??
    (host === undefined || host === authority ? undefined : checkAuthority(host, server))
  if (wrongServer) return { refusal: wrongServer }
  if (scheme !== server.scheme)
    return { refusal: { status: 421, text: 'the request is for another scheme than its connection' } }
  if (method === 'CONNECT') return malformed('a CONNECT would lead elsewhere')
  if (!METHOD.test(method)) return malformed('the request has a method that is not proper')
  if (!TARGET.test(target)) return malformed('the request has a path that is not proper')
  const verdict = judgeRequest(vault, server, {
    method,
    target,
    overrides: () => overridesOf(fields, target),
  })
  if (verdict.refusal) return verdict
  const { injection } = verdict
  const holdsBody = !isWhole && injection !== undefined && isBodyHeld(injection, head)
  const forwarded = forwardedHead(head, injection)
  return {
    fields: holdsBody ? forwarded.filter(({ name }) => name !== EXPECT) : forwarded,
    injection,
    holdsBody,
    asksForContinue: holdsBody && firstOf(fields, EXPECT) !== undefined,
  }
}
