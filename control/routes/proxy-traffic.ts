// What the gateway does for its traffic (gateway/life/activity.ts), for the traffic that control carries itself: a request counts when
// it comes, a stream or a WebSocket for as long as it carries bytes.

import type { Socket } from 'node:net'
import type { RoutesFeed } from '../routes-feed.ts'
import type { Activity } from '../sandbox/activity.ts'

const COLLECT_MS = 2000

export type ProxyTrafficOptions = {
  feed: Pick<RoutesFeed, 'get'>
  activity: Pick<Activity, 'record'>
  collectMs?: number
}

export class ProxyTraffic {
  readonly #options: Required<ProxyTrafficOptions>
  readonly #sockets = new Map<Socket, { id: string; bytes: number }>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: ProxyTrafficOptions) {
    this.#options = { collectMs: COLLECT_MS, ...options }
  }

  /** Something for a sandbox has come on a connection; what follows on it counts until `leave`. */
  follow(id: string, socket: Socket): void {
    const { feed, activity, collectMs } = this.#options
    if (!feed.get(id)?.countsTraffic) return
    activity.record([{ id, ageMs: 0 }])
    this.#sockets.set(socket, { id, bytes: bytesOf(socket) })
    this.#timer ??= setInterval(() => this.#collect(), collectMs).unref()
  }

  leave(socket: Socket): void {
    if (this.#sockets.delete(socket) && this.#sockets.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #collect(): void {
    const active = new Set<string>()
    for (const [socket, known] of this.#sockets) {
      const bytes = bytesOf(socket)
      if (bytes !== known.bytes) active.add(known.id)
      known.bytes = bytes
    }
    this.#options.activity.record([...active].map((id) => ({ id, ageMs: 0 })))
  }
}

function bytesOf({ bytesRead, bytesWritten }: Socket): number {
  return bytesRead + bytesWritten
}
