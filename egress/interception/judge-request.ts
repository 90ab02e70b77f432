// What one request gets. Only when the name of the handshake, the name in the request and the name of the binding are one does it get a
// secret, and the server must have proved to be that name before. Pure, and the same for HTTP/1 and HTTP/2.

import { parseName } from '../../lib/api/network-policy.ts'
import type { Injection, VaultRequest, VaultServer, VaultView } from '../vault/port.ts'
import type { Override } from './overrides.ts'

export type Asked = {
  method: string
  /** In origin form. */
  target: string
  /** What it says of method and target beside that; looked for when it would get a secret. */
  overrides?: () => readonly Override[]
}

/** An answer of our own, in plain text. */
export type Refusal = { status: number; text: string }

/** For what is no proper request. */
export function malformed(text: string): { refusal: Refusal } {
  return { refusal: { status: 400, text } }
}

/** For whoever would hold more than a sandbox may. */
export const TOO_MANY_HELD: Refusal = {
  status: 503,
  text: 'too many bodies are waited for at once in which a credential is put',
}

export const HEAD_TOO_LONG: Refusal = { status: 431, text: 'the head of the request is too long' }

/** Why a request ends that has waited for so long for somebody to read. */
export const TAKEN_NOTHING = {
  byClient: 'its client took nothing of the answer for too long',
  byServer: 'took nothing of the request for too long',
}

export type Verdict =
  | { refusal: Refusal; binding?: string }
  | { refusal?: undefined; injection: Injection | undefined }

const SERVER_PORT = { http: 80, https: 443 } as const

export function judgeRequest(vault: VaultView | undefined, server: VaultServer, asked: Asked): Verdict {
  const choice = vault?.choose(requestTo(server, asked)) ?? { kind: 'none' }
  switch (choice.kind) {
    case 'none':
      return { injection: undefined }
    case 'ambiguous':
      return { refusal: { status: 403, text: 'credential binding ambiguous' } }
    case 'refused':
      return { binding: choice.binding, refusal: { status: 400, text: choice.reason } }
    case 'inject': {
      // The answer to it would be the request itself, with what was put into it.
      if (asked.method === 'TRACE')
        return {
          binding: choice.binding,
          refusal: { status: 403, text: 'a TRACE would show the credential' },
        }
      const other = asked.overrides?.().find((each) => !isSame(vault, server, { ...asked, ...each }, choice))
      return other ? { binding: choice.binding, refusal: dependsOn(other) } : { injection: choice }
    }
  }
}

function requestTo({ scheme, host, port }: VaultServer, { method, target }: Asked): VaultRequest {
  return { scheme, host, port, method, target }
}

function isSame(vault: VaultView | undefined, server: VaultServer, asked: Asked, chosen: Injection): boolean {
  const choice = vault?.choose(requestTo(server, asked))
  return choice?.kind === 'inject' && choice.binding === chosen.binding
}

function dependsOn({ by, method }: Override): Refusal {
  const what = method === undefined ? 'path' : 'method'
  return {
    status: 400,
    text: `credential binding depends on how the ${what} is read: send it without ${by}`,
  }
}

/** Whether the server that a request names is the one that its connection is for (RFC 9110 7.4). */
export function checkAuthority(authority: string | undefined, server: VaultServer): Refusal | undefined {
  const { scheme, host: wanted, port: at } = server
  if (authority === (at === SERVER_PORT[scheme] ? wanted : `${wanted}:${at}`)) return undefined
  const [, host, port] = /^([^\s:@/?#[\]\x80-\uffff]+)(?::(\d{1,5}))?$/.exec(authority ?? '') ?? []
  if (host === undefined)
    return { status: 400, text: 'the request names no host, or several, or none that is a name' }
  const parsed = parseName(host)
  const isSame = 'name' in parsed && parsed.name === wanted && Number(port ?? SERVER_PORT[scheme]) === at
  if (isSame) return undefined
  return {
    status: 421,
    text: `the request is for another server than its connection, which is for ${scheme}://${wanted}:${at}`,
  }
}

/** A target in origin form, however it came; an authority in it must be that of `Host`, letter by letter. */
export function originForm(
  target: string,
  { scheme, authority }: { scheme: string; authority: string },
): string | Refusal {
  if (target.startsWith('/') || target === '*') return target
  const [, found = '', rest = ''] = /^([a-z]+:\/\/[^/?]*)(.*)$/i.exec(target) ?? []
  if (found.toLowerCase() !== `${scheme}://${authority}`.toLowerCase())
    return { status: 421, text: 'the request names another server in its target than in its Host' }
  return rest.startsWith('/') ? rest : `/${rest}`
}
