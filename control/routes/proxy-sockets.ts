// The connections to sandboxes that control's own proxy has open, so that they end with the life of the sandbox that they are for: its
// address may be another's a moment later.

import type { Socket } from 'node:net'
import type { Route } from '../../lib/api/routes-feed.ts'
import { cutOff } from '../../lib/cut-off.ts'
import type { RoutesFeed } from '../routes-feed.ts'

export class ProxySockets {
  readonly #feed: Pick<RoutesFeed, 'get'>
  /** Of each sandbox, with the life that they are for. */
  readonly #sockets = new Map<string, Map<Socket, number>>()

  constructor(feed: Pick<RoutesFeed, 'get' | 'onChange'>) {
    this.#feed = feed
    feed.onChange((id, route) => this.#cut(id, route))
  }

  follow(socket: Socket, { id, generation }: Pick<Route, 'id' | 'generation'>): void {
    const own = this.#sockets.get(id) ?? new Map<Socket, number>()
    this.#sockets.set(id, own.set(socket, generation))
    socket.once('close', () => {
      own.delete(socket)
      if (own.size === 0) this.#sockets.delete(id)
    })
    // It may have gone since it was asked for.
    this.#cut(id, this.#feed.get(id))
  }

  #cut(id: string, route: Route | undefined): void {
    const isOver = !route || route.state === 'terminated' || route.state === 'failed'
    for (const [socket, generation] of [...(this.#sockets.get(id) ?? [])])
      if (isOver || generation !== route.generation) cutOff(socket)
  }
}
