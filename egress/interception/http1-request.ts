// What becomes of one request of HTTP/1: refused, or sent on as another head, perhaps with what it gets. Pure.

import { type Framing, isEmpty } from '../../lib/http1/framing.ts'
import type { Injection, VaultServer, VaultView } from '../vault/port.ts'
import { substituteTarget } from '../vault/substitute.ts'
import { forwardedRequestFields } from './fields.ts'
import { isBodyHeld } from './held-body.ts'
import type { Line, RequestHead } from './http1-head.ts'
import { checkAuthority, judgeRequest, malformed, originForm, type Refusal } from './judge-request.ts'
import { overridesOf } from './overrides.ts'

export type RequestPlan = {
  target: string
  /** As they go on. */
  lines: readonly Line[]
  framing: Framing
  injection: Injection | undefined
  isUpgrade: boolean
  /** It can be sent again when a connection turns out to be closed. */
  isRepeatable: boolean
  /** Its body is sent when it is whole, as texts in it are replaced. */
  holdsBody: boolean
}

const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS'])

export function planRequest(
  { method, minor, target: asked, fields, host, framing, connection, upgrade }: RequestHead,
  server: VaultServer,
  vault: VaultView | undefined,
): RequestPlan | { refusal: Refusal; binding?: string } {
  const wrongServer = checkAuthority(host, server)
  if (wrongServer) return { refusal: wrongServer }
  if (method === 'CONNECT') return malformed('a CONNECT would lead elsewhere')
  const target = originForm(asked, { scheme: server.scheme, authority: host ?? '' })
  if (typeof target !== 'string') return { refusal: target }
  const verdict = judgeRequest(vault, server, {
    method,
    target,
    overrides: () => overridesOf(fields, target),
  })
  if (verdict.refusal) return verdict
  const { injection } = verdict
  const hasBody = !isEmpty(framing)
  const asksForUpgrade = upgrade.includes('websocket') && connection.includes('upgrade')
  const isUpgrade = asksForUpgrade && !hasBody && method === 'GET' && minor === 1
  const forwarded = forwardedRequestFields(fields, { connection, injection, isUpgrade })
  if ('problem' in forwarded) return malformed(forwarded.problem)
  const length = framing.kind === 'length' ? framing.length : undefined
  const holdsBody = injection !== undefined && isBodyHeld(injection, { fields, length })
  return {
    target: injection ? substituteTarget(target, injection.substitutions) : target,
    // Who waits to be asked for a body that is held would wait for ever: we ask for it.
    lines: holdsBody ? forwarded.filter(({ name }) => name.toLowerCase() !== 'expect') : forwarded,
    framing,
    injection,
    isUpgrade,
    isRepeatable: !hasBody && REPEATABLE.has(method) && !isUpgrade,
    holdsBody,
  }
}
