// Connections to sandboxes that speak HTTP/2, one for each place in one life of a sandbox: its streams share it.

import { type ClientHttp2Session, connect } from 'node:http2'
import { connect as connectSocket, type Socket } from 'node:net'
import { cutOff } from '../../lib/cut-off.ts'
import type { Target } from './upstream.ts'

const IDLE_MS = 60_000
const OPTIONS = {
  settings: { enablePush: false, initialWindowSize: 1024 * 1024 },
  maxHeaderListPairs: 160,
  maxSettings: 32,
}

type Open = { session: ClientHttp2Session; socket: Socket }

export class H2cSessions {
  /** By sandbox, as routes change far more often than there are sessions to look through. */
  readonly #groups = new Map<string, Map<string, Open>>()

  open({ key, group, connect: place }: Target): ClientHttp2Session {
    const open = this.#groups.get(group)?.get(key)?.session
    if (open && !open.closed && !open.destroyed) return open
    if (!('host' in place)) throw new Error('HTTP/2 is spoken to addresses only')
    const host = place.host.includes(':') ? `[${place.host}]` : place.host
    const socket = connectSocket(place)
    const session = connect(`http://${host}:${place.port}`, { ...OPTIONS, createConnection: () => socket })
    const forget = () => {
      if (this.#groups.get(group)?.get(key)?.session === session) this.#forget(group, key)
    }
    session.setTimeout(IDLE_MS, () => {
      forget()
      session.close()
    })
    // Each of its streams hears of an error itself, however many there are.
    session
      .setMaxListeners(0)
      .on('error', () => {})
      .on('goaway', forget)
      .on('close', forget)
    const sessions = this.#groups.get(group) ?? new Map<string, Open>()
    this.#groups.set(group, sessions.set(key, { session, socket }))
    return session
  }

  /** Ends those of one sandbox, all of them or those of other lives than `exceptKey` begins with. */
  cut(group: string, exceptKeyPrefix?: string): void {
    const sessions = this.#groups.get(group)
    if (!sessions) return
    for (const [key, { socket }] of [...sessions]) {
      if (exceptKeyPrefix !== undefined && key.startsWith(exceptKeyPrefix)) continue
      this.#forget(group, key)
      cutOff(socket)
    }
  }

  close(): void {
    for (const sessions of this.#groups.values())
      for (const { session } of sessions.values()) session.destroy()
    this.#groups.clear()
  }

  #forget(group: string, key: string): void {
    const sessions = this.#groups.get(group)
    sessions?.delete(key)
    if (sessions?.size === 0) this.#groups.delete(group)
  }
}
