// Who may reach a sandbox's port (contract: gateway.md 3.1, lifecycle.md 4.3). Where a sandbox asks for it, a request has to show its
// token, or a signed name of the port, or a link that was shared, or what a browser was given for one. Pure.

import { hashKey, isSameHash } from '../../lib/access.ts'
import type { Route as FeedRoute, Share } from '../../lib/api/routes-feed.ts'
import { isEmpty } from '../../lib/http1/framing.ts'
import { isBelow } from '../../lib/plain-path.ts'
import { parseShareToken } from '../../lib/share-link.ts'
import { type SigningKeys, verifyRoute } from '../../lib/signature.ts'
import type { RequestHead } from '../http1/head.ts'
import { nameOf, parseHost, portSuffixOf, type SandboxAddress } from '../routing/host.ts'
import type { Credentials } from './credentials.ts'

export type Grant =
  /** With `share`, for as long as that holds; what is under way is cut when it ends. */
  | { kind: 'open'; share?: Share; isPreflight?: true }
  /** A link that opens once is to be used up first. `secret` is what it carries. */
  | { kind: 'redeem'; share: Share; isNavigation: boolean }
  /** A browser is sent on to the address without the link, with a cookie when it has none. */
  | { kind: 'hand-over'; share: Share; secret?: string }
  /** `isGuess`: somebody may be trying what opens. */
  | { kind: 'closed'; reason: ClosedReason; isGuess: boolean }

export type ClosedReason = 'nothing' | 'token' | 'signature' | 'expired' | 'no_keys' | 'too_many' | 'link'

export type Asked = {
  found: FeedRoute
  address: SandboxAddress
  head: RequestHead
  /** The path and query for the sandbox, without the link. */
  target: string
  credentials: Credentials
  /** Whether the sandbox was asked for by a host name of its own, so that cookies are this port's alone. */
  hasOwnHost: boolean
  domain: string
  keys: SigningKeys
  /** Milliseconds since 1970. */
  now: number
  /** From where the request comes too much was guessed: a signature is too short to be guessed at without end. */
  isSuspect: boolean
}

const closed = (reason: ClosedReason, isGuess = false): Grant => ({ kind: 'closed', reason, isGuess })

export function decideGrant(asked: Asked): Grant {
  const { found, address, credentials } = asked
  if (found.accessHash === undefined) return { kind: 'open' }
  // The first that is there decides alone, right or wrong.
  if (credentials.token !== undefined)
    return isSameHash(hashKey(credentials.token), found.accessHash) ? { kind: 'open' } : closed('token', true)
  if (address.signed) return decideSigned(asked, address.signed)
  const byCookie = credentials.cookies
    .map(({ id, secret }) => findShare(asked, id, secret))
    .find((share) => share !== undefined && share.once !== true)
  if (credentials.link !== undefined) return decideLink(asked, credentials.link, byCookie)
  if (byCookie && asked.hasOwnHost && mayUseCookie(asked)) return { kind: 'open', share: byCookie }
  if (isPreflight(asked.head)) return { kind: 'open', isPreflight: true }
  return closed('nothing')
}

function decideSigned(
  { address: { id, port }, keys, now, isSuspect }: Asked,
  signed: NonNullable<SandboxAddress['signed']>,
): Grant {
  if (isSuspect) return closed('too_many')
  const verdict = verifyRoute(keys, { id, port, ...signed }, now)
  if (verdict === 'valid') return { kind: 'open' }
  if (verdict === 'expired' || verdict === 'no_keys') return closed(verdict)
  return closed('signature', true)
}

function decideLink(asked: Asked, link: string, byCookie: Share | undefined): Grant {
  const { head, credentials, hasOwnHost } = asked
  const token = parseShareToken(link)
  const share = token && findShare(asked, token.id, token.secret)
  const isNavigation = credentials.isInAddress && hasOwnHost && isNavigating(head)
  // The same person opens the same link again, which opened once.
  if (!share) return byCookie && isNavigation ? { kind: 'hand-over', share: byCookie } : closed('link', true)
  // Whoever looks at a link before it is opened does not use it up.
  if (share.once) return head.method === 'HEAD' ? closed('link') : { kind: 'redeem', share, isNavigation }
  if (isNavigation) return { kind: 'hand-over', share, ...(token && { secret: token.secret }) }
  return { kind: 'open', share }
}

/** The link of this id, when its secret is right and it opens what is asked for. */
function findShare(
  { found, address, head, target, now }: Asked,
  id: string,
  secret: string,
): Share | undefined {
  const share = found.shares?.find((each) => each.id === id)
  // Compared whether there is such a link or not, so that the time tells nothing.
  const isRight = isSameHash(hashKey(secret), share?.hash ?? NO_HASH)
  if (!share || !isRight || share.port !== address.port || share.until <= now) return undefined
  if (share.path !== undefined && !isBelow(target, share.path)) return undefined
  const method = head.method === 'HEAD' ? 'GET' : head.method
  return share.methods === undefined || share.methods.includes(method) ? share : undefined
}

const NO_HASH = '0'.repeat(64)

/**
 * Whether a cookie counts. Browsers send it along whatever page asks, as all sandboxes below one domain are one site to them; so
 * the page has to be one of this very sandbox, or the browser to be going there.
 */
function mayUseCookie({ head, address, domain }: Asked): boolean {
  let origin: string | undefined
  let site: string | undefined
  for (const { key, value } of head.fields) {
    if (key === 'origin') origin = value
    else if (key === 'sec-fetch-site') site = value.toLowerCase()
  }
  if (origin !== undefined) return isOwnOrigin(origin, head.host, { address, domain })
  if (site === undefined || site === 'same-origin' || site === 'none') return true
  return isNavigating(head)
}

/** Whether an origin is a port of the same sandbox, at the same port of this gateway. */
function isOwnOrigin(
  origin: string,
  host: string,
  { address, domain }: { address: SandboxAddress; domain: string },
): boolean {
  const [, from = ''] = /^https?:\/\/([^/?#@\\]+)$/i.exec(origin) ?? []
  if (from === '' || portSuffixOf(from) !== portSuffixOf(host)) return false
  if (nameOf(from) === nameOf(host)) return true
  const reading = parseHost(from, domain)
  return reading.kind === 'sandbox' && reading.address.id === address.id
}

/** Whether a browser is opening a page, as far as it tells; older ones only say that they take one. */
function isNavigating({ method, fields, upgrade }: RequestHead): boolean {
  if (method !== 'GET' || upgrade !== undefined) return false
  const mode = fields.find(({ key }) => key === 'sec-fetch-mode')?.value.toLowerCase()
  if (mode !== undefined) return mode === 'navigate'
  return fields.some(({ key, value }) => key === 'accept' && value.toLowerCase().includes('text/html'))
}

/** The question of a browser whether a page may send a request, which it asks without any credential (Fetch, CORS). */
function isPreflight({ method, fields, framing, upgrade }: RequestHead): boolean {
  return (
    method === 'OPTIONS' &&
    isEmpty(framing) &&
    upgrade === undefined &&
    fields.some(({ key }) => key === 'origin') &&
    fields.some(({ key }) => key === 'access-control-request-method')
  )
}
