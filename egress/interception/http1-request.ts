// What becomes of one request of HTTP/1: refused, or sent on as another head, perhaps with what it gets. Pure.

import type { Injection, VaultServer, VaultView } from '../vault/port.ts'
import { MAX_SUBSTITUTED_BODY_BYTES, substitutesBody, substituteTarget } from '../vault/substitute.ts'
import { canonicalField, forwardedRequestFields } from './fields.ts'
import {
  type Field,
  type Framing,
  membersOf,
  type RequestHead,
  requestFraming,
  valuesOf,
} from './http1-head.ts'
import { checkAuthority, judgeRequest, originForm, type Refusal } from './judge-request.ts'
import { overridesOf } from './overrides.ts'

export type RequestPlan = {
  /** As it goes on. */
  head: RequestHead
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
  { method, minor, target: asked, fields }: RequestHead,
  server: VaultServer,
  vault: VaultView | undefined,
): RequestPlan | { refusal: Refusal; binding?: string } {
  const hosts = valuesOf(fields, 'host')
  const [authority = ''] = hosts
  const wrongServer = checkAuthority(hosts.length === 1 ? authority : undefined, server)
  if (wrongServer) return { refusal: wrongServer }
  const framing = requestFraming({ minor, fields })
  if ('problem' in framing) return malformed(framing.problem)
  if (method === 'CONNECT') return malformed('a CONNECT would lead elsewhere')
  const target = originForm(asked, { scheme: server.scheme, authority })
  if (typeof target !== 'string') return { refusal: target }
  const verdict = judgeRequest(vault, server, {
    method,
    target,
    overrides: () =>
      overridesOf(
        fields.map(({ name, value }) => [canonicalField(name), value]),
        target,
      ),
  })
  if (verdict.refusal) return verdict
  const { injection } = verdict
  const asksForUpgrade =
    membersOf(fields, 'upgrade').includes('websocket') && membersOf(fields, 'connection').includes('upgrade')
  const isUpgrade = asksForUpgrade && framing.by === 'nothing' && method === 'GET' && minor === 1
  const forwarded = forwardedRequestFields(fields, { injection, isUpgrade })
  if ('problem' in forwarded) return malformed(forwarded.problem)
  const holdsBody = injection !== undefined && isBodyHeld(injection, forwarded, framing)
  return {
    head: {
      method,
      minor,
      target: injection ? substituteTarget(target, injection.substitutions) : target,
      // Who waits to be asked for a body that is held would wait for ever: we ask for it.
      fields: holdsBody ? forwarded.filter(({ name }) => name.toLowerCase() !== 'expect') : forwarded,
    },
    framing,
    injection,
    isUpgrade,
    isRepeatable: framing.by === 'nothing' && REPEATABLE.has(method) && !isUpgrade,
    holdsBody,
  }
}

function isBodyHeld(injection: Injection, fields: readonly Field[], framing: Framing): boolean {
  if (framing.by !== 'length' || framing.length > MAX_SUBSTITUTED_BODY_BYTES) return false
  const [contentType] = valuesOf(fields, 'content-type')
  const [contentEncoding] = valuesOf(fields, 'content-encoding')
  return substitutesBody(injection.substitutions, { contentType, contentEncoding })
}

function malformed(text: string): { refusal: Refusal } {
  return { refusal: { status: 400, text } }
}
