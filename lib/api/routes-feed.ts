// The feed by which control tells gateways where sandboxes are. NDJSON over HTTP on control's feed socket:
//
//   GET /routes?epoch={epoch}&since={version}   one event per line, for ever
//   GET /routes/{id}                            one Route as JSON, or 404
//   POST /activity                              an ActivityRequest, answered with an ActivityAnswer
//   GET /access/{id}                            with an API key in its header: 204 when traffic with it may reach the sandbox, else
//                                               the error that the client is answered; CLIENT_HEADER has the client's address
//   POST /wake/{id}                             204 once a paused sandbox runs again, else the error that the client is answered
//   POST /shares/{id}/redeem                    a RedeemRequest: uses up a link that opens once, answered with a RedeemAnswer; 404
//                                               when it was used before, has ended or was revoked
//
// A feed begins with `reset` and every known route, unless `epoch` and `since` name a point that control still remembers;
// then only what changed follows. `ready` marks the end of the catching up. A `ping` comes every 10 s when nothing else does.

/** In which a gateway says from where a key came. */
export const CLIENT_HEADER = 'X-Forwarded-For'

export const ROUTE_STATES = ['pending', 'running', 'paused', 'stopping', 'terminated', 'failed'] as const
export type RouteState = (typeof ROUTE_STATES)[number]

/** Where the bytes for one port go: a TCP address, or a socket of one of our programs with a prefix put before the path. */
export type RouteTarget = { host: string; port: number } | { socketPath: string; pathPrefix: string }

export type Route = {
  id: string
  state: RouteState
  /** The sandbox's address as seen from the gateway; absent until it has one. */
  address?: string
  /** Ports that do not lead to `address`, such as 18080, which egress serves. */
  ports?: Record<string, RouteTarget>
  /** Counts the lives of the sandbox; pooled connections of an earlier life must not be used. */
  generation: number
  /** Whether control wants to hear of this sandbox's traffic. */
  countsTraffic?: true
  /** Names of its own, in lower case, each for one port. */
  domains?: { name: string; port: number }[]
  /** The hash of what a request has to bring along; absent where everybody may come who knows the address. */
  accessHash?: string
  /** The links that open one of its ports. */
  shares?: Share[]
  /** Whether a request may wake it, of one that is paused. */
  wakes?: true
}

/** A link that opens a port, or what a browser was given for one (lib/share-link.ts). */
export type Share = {
  id: string
  port: number
  hash: string
  /** When it ends, in milliseconds since 1970. */
  until: number
  /** It opens once, and has not been used: what opens from then on is what `redeem` gives. */
  once?: true
  /** The path at and below which it opens. */
  path?: string
  methods?: string[]
}

export type RedeemRequest = { hash: string }
export type RedeemAnswer = { secret: string }

/** At most so many sandboxes are told of in one request. */
export const MAX_REPORTS = 250

/** When something was last sent to a sandbox or came from it. An age, as the clocks of two programs may differ. */
export type ActivityReport = { id: string; ageMs: number }
export type ActivityRequest = { sandboxes: ActivityReport[] }
/** Another epoch than the last time says that control was started anew, and may have lost what it had not written down. */
export type ActivityAnswer = { epoch: string }

export type RouteEvent =
  | { type: 'reset'; epoch: string; version: number }
  | { type: 'put'; version: number; route: Route }
  | { type: 'delete'; version: number; id: string }
  | { type: 'ready'; epoch: string; version: number }
  | { type: 'ping'; version: number }
