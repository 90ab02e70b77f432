// The way to a sandbox: who asks, may they, can it answer, and is it worth waiting until it can. Every step ends with a verdict, before
// a byte has gone to the sandbox.

import { isIP } from 'node:net'
import type { Route as FeedRoute, RouteTarget, Share } from '../../lib/api/routes-feed.ts'
import type { Client } from '../../lib/hops.ts'
import type { SigningKeys } from '../../lib/signature.ts'
import type { AccessSettings } from '../access/access.ts'
import { formatShareCookie, readCredentials, withoutLink } from '../access/credentials.ts'
import { type ClosedReason, decideGrant, type Grant } from '../access/grant.ts'
import type { Guesses } from '../access/guesses.ts'
import { API_KEY_FIELD, type KeyCheck } from '../access/key-check.ts'
import type { Redeem } from '../access/redeem.ts'
import type { RequestHead } from '../http1/head.ts'
import type { TrafficLog } from '../life/activity.ts'
import { createHold } from '../life/hold.ts'
import type { Waker } from '../life/wake.ts'
import type { SandboxAddress } from '../routing/host.ts'
import type { Lookup, RouteListener } from '../routing/routes-feed.ts'
import { asksNotToRenew, planSandbox, type SandboxRoute } from './plan.ts'
import { REFUSED, type Refusal, wantsPage } from './refusal.ts'
import type { Verdict } from './verdict.ts'

/** Where sandboxes are: see routes-feed.ts. */
export type RouteSource = {
  /** How many are known. */
  readonly size: number
  /** False while control is away, and what is known may be old. */
  readonly isCurrent: boolean
  get(id: string): FeedRoute | undefined
  find(id: string): Promise<Lookup>
  /** The port of a sandbox that has a name of its own. */
  findDomain(name: string): SandboxAddress | undefined
  onChange(listener: RouteListener): () => void
}

export type DoorOptions = {
  access: AccessSettings
  /** Asked where traffic needs a key. */
  checkKey: KeyCheck
  routes: RouteSource
  activity?: Pick<TrafficLog, 'touch'>
  /** Absent: nothing is woken. */
  wake?: Waker
  /** Absent: no link opens that opens once. */
  redeem?: Redeem
  guesses: Guesses
  /** Is told of what opens nothing and was tried. */
  onGuess?: () => void
  /** How long a request waits for a sandbox that is starting or waking. */
  holdMs: number
  /** How long a browser waits for one before it is shown that it waits. */
  pageMs: number
  /** How many requests wait at once; half of them for one sandbox at most. */
  maxHeld: number
  /** Milliseconds of a clock that goes on evenly. */
  now: () => number
  /** Milliseconds since 1970. */
  wallNow: () => number
  isStopping: () => boolean
}

export type Door = (route: SandboxRoute, head: RequestHead, client: Client) => Verdict

type Caller = { route: SandboxRoute; head: RequestHead; client: Client }
type Opened = Extract<Grant, { kind: 'open' }>

const NO_KEYS: SigningKeys = new Map()
const OPEN: Opened = { kind: 'open' }
const refuse = (refusal: Refusal): Verdict => ({ kind: 'refuse', refusal })

export function createDoor(options: DoorOptions): Door {
  const { access, routes, activity, guesses, now, wallNow } = options
  const wait = createHold({
    onChange: (listener) => routes.onChange(listener),
    ...(options.wake && { wake: options.wake }),
    maxHeld: options.maxHeld,
    isStopping: options.isStopping,
  })

  return (route, head, client) => {
    const caller: Caller = { route, head, client }
    return route.via === 'path' && access.guardsTraffic ? guard(caller) : lead(caller)
  }

  /** To the sandbox, once control has said that it is the caller's. */
  function guard(caller: Caller): Verdict {
    const key = caller.head.fields.find((field) => field.key === API_KEY_FIELD)?.value
    const verdict = options
      .checkKey(caller.route.address.id, { key, from: caller.client.address })
      .then((refusal) => (refusal ? refuse(refusal) : lead(caller)))
    return { kind: 'wait', verdict, cancel: () => {} }
  }

  function lead(caller: Caller): Verdict {
    const { id } = caller.route.address
    const found = routes.get(id)
    if (found) return enter(caller, found)
    // For an id that was never seen control is asked, once for all who wait.
    let cancel = () => {}
    const verdict = routes.find(id).then((asked): Verdict | Promise<Verdict> => {
      if (asked === 'unknown') return refuse(unknown(caller))
      if (asked === 'unreachable') return refuse(REFUSED.noControl())
      const entered = enter(caller, asked)
      if (entered.kind !== 'wait') return entered
      cancel = entered.cancel
      return entered.verdict
    })
    return { kind: 'wait', verdict, cancel: () => cancel() }
  }

  /** Who may not come in learns nothing of the sandbox but that it is closed, in whatever state it is. */
  function enter(asking: Caller, found: FeedRoute): Verdict {
    const { client, head } = asking
    const route = readAs(asking.route, found)
    if (found.accessHash === undefined) return pass({ ...asking, route }, found, OPEN)
    const credentials = readCredentials(head, route.target)
    const caller: Caller = { ...asking, route: { ...route, target: withoutLink(route.target) } }
    const isSuspect = guesses.isSuspect(client.address, now())
    const grant = decideGrant({
      found,
      address: route.address,
      head,
      target: caller.route.target,
      credentials,
      hasOwnHost: route.via === 'host',
      domain: access.domain,
      keys: access.keys ?? NO_KEYS,
      now: wallNow(),
      isSuspect,
    })
    switch (grant.kind) {
      case 'open':
        return pass(caller, found, grant)
      case 'closed':
        if (grant.isGuess) {
          guesses.note(client.address, now())
          options.onGuess?.()
        }
        return refuse(refusalOf(grant.reason, isSuspect))
      case 'hand-over':
        return handOver(caller, grant.share, grant.secret)
      case 'redeem':
        return useUp(caller, found, grant)
    }
  }

  function useUp(
    caller: Caller,
    found: FeedRoute,
    { share, isNavigation }: Extract<Grant, { kind: 'redeem' }>,
  ): Verdict {
    const { redeem } = options
    if (!redeem) return refuse(REFUSED.deadLink())
    let cancel = () => {}
    const verdict = redeem(found.id, share).then((given): Verdict | Promise<Verdict> => {
      if (given === 'unreachable') return refuse(REFUSED.noControl())
      if (given === 'used') return refuse(REFUSED.deadLink())
      if (isNavigation) return handOver(caller, share, given.secret)
      // It may have gone while control was asked, and its address may be another's by now.
      const current = routes.get(found.id)
      if (!current || !isStillOpen(current, share)) return refuse(REFUSED.deadLink())
      const passed = pass(caller, current, { kind: 'open', share })
      if (passed.kind !== 'wait') return passed
      cancel = passed.cancel
      return passed.verdict
    })
    return { kind: 'wait', verdict, cancel: () => cancel() }
  }

  /** Takes the link out of the browser's address. */
  function handOver({ route, client }: Caller, share: Share, secret: string | undefined): Verdict {
    const maxAgeSeconds = Math.max(1, Math.floor((share.until - wallNow()) / 1000))
    const { isEncrypted } = client
    const cookie =
      secret === undefined ? '' : formatShareCookie({ id: share.id, secret }, { maxAgeSeconds, isEncrypted })
    // Two slashes, or what browsers take for them, would lead to another host.
    const location = /^\/[/\\]/.test(route.target) ? `/.${route.target}` : route.target
    return {
      kind: 'answer',
      status: 303,
      head: `HTTP/1.1 303 See Other\r\nLocation: ${location}\r\n${cookie}Content-Length: 0\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n`,
    }
  }

  function pass(caller: Caller, found: FeedRoute, how: Opened): Verdict {
    const decided = decideSandbox(caller, found, how)
    // Nobody has shown anything yet: the app's answer is all there is to have, and no traffic.
    if (how.isPreflight) {
      if (decided?.kind !== 'forward') return refuse(REFUSED.closedToYou())
      const { trafficOf: _, ...plan } = decided.plan
      return { kind: 'forward', plan }
    }
    return decided ?? hold(caller, found, how)
  }

  /** What the state of a sandbox means for who may come in; undefined when it is worth waiting. */
  function decideSandbox(
    { route, head, client }: Caller,
    found: FeedRoute,
    { share, isPreflight }: Opened,
  ): Verdict | undefined {
    const { port } = route.address
    const forward = (to: RouteTarget): Verdict => {
      const { hasApiKey } = access
      const plan = planSandbox(route, head, { found, to, client, hasApiKey, share })
      if (plan.trafficOf !== undefined && !isPreflight) activity?.touch(plan.trafficOf, now(), plan.port)
      return { kind: 'forward', plan }
    }
    const special = found.ports?.[String(port)]
    if (special) return forward(special)
    switch (found.state) {
      case 'running':
        if (found.address === undefined) return undefined
        // A name would be looked up, and could lead anywhere.
        return isIP(found.address) === 0
          ? refuse(REFUSED.unreachable())
          : forward({ host: found.address, port })
      case 'pending':
        return undefined
      case 'paused': {
        const mayWake = found.wakes === true && options.wake && !asksNotToRenew(head)
        return mayWake ? undefined : refuse(REFUSED.paused())
      }
      default:
        return refuse(REFUSED.ended(found.state))
    }
  }

  function hold(caller: Caller, found: FeedRoute, how: Opened): Verdict {
    return wait({
      id: caller.route.address.id,
      isWaking: found.state === 'paused',
      atMostMs: wantsPage(caller.head) ? options.pageMs : options.holdMs,
      decide(changed) {
        if (!changed) return refuse(unknown(caller))
        // It may have been closed, or a link revoked, while the request waited.
        if (!isStillOpen(changed, how.share)) return refuse(refusalOf('nothing', false))
        return decideSandbox(caller, changed, how)
      },
    })
  }
}

/** Where a sandbox asks for no signature, what looks like one is a part of its own path (contract: gateway.md 2.2). */
function readAs(route: SandboxRoute, found: FeedRoute): SandboxRoute {
  const { unsigned, address } = route
  if (unsigned === undefined || found.accessHash !== undefined) return route
  return { ...route, ...unsigned, address: { id: address.id, port: address.port } }
}

function isStillOpen(changed: FeedRoute, share: Share | undefined): boolean {
  return share === undefined || changed.shares?.some(({ id }) => id === share.id) === true
}

/** Whoever tries a link is told the same of a sandbox that there is not as of one that it does not open. */
function unknown({ head, route }: Caller): Refusal {
  return readCredentials(head, route.target).link === undefined ? REFUSED.unknown() : REFUSED.deadLink()
}

function refusalOf(reason: ClosedReason, isSuspect: boolean): Refusal {
  if (isSuspect && reason !== 'nothing') return REFUSED.tooManyGuesses()
  if (reason === 'link') return REFUSED.deadLink()
  return reason === 'no_keys' ? REFUSED.noSigningKeys() : REFUSED.closedToYou()
}
