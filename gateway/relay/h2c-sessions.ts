// Connections to sandboxes that speak HTTP/2, one for each place in one life of a sandbox: its streams share it.

import { type ClientHttp2Session, connect } from 'node:http2'
import type { Target } from './pool.ts'

const IDLE_MS = 60_000
const OPTIONS = {
  settings: { enablePush: false, initialWindowSize: 1024 * 1024 },
  maxHeaderListPairs: 160,
  maxSettings: 32,
}

export class H2cSessions {
  readonly #sessions = new Map<string, { group: string; session: ClientHttp2Session }>()

  open({ key, group, connect: place }: Target): ClientHttp2Session {
    const open = this.#sessions.get(key)?.session
    if (open && !open.closed && !open.destroyed) return open
    if (!('host' in place)) throw new Error('HTTP/2 is spoken to addresses only')
    const host = place.host.includes(':') ? `[${place.host}]` : place.host
    const session = connect(`http://${host}:${place.port}`, OPTIONS)
    const forget = () => {
      if (this.#sessions.get(key)?.session === session) this.#sessions.delete(key)
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
    this.#sessions.set(key, { group, session })
    return session
  }

  /** Ends those of one sandbox, all of them or those of other lives than `exceptKey` begins with. */
  cut(group: string, exceptKeyPrefix?: string): void {
    for (const [key, { group: its, session }] of [...this.#sessions]) {
      if (its !== group || (exceptKeyPrefix !== undefined && key.startsWith(exceptKeyPrefix))) continue
      this.#sessions.delete(key)
      session.destroy()
    }
  }

  close(): void {
    for (const { session } of this.#sessions.values()) session.destroy()
    this.#sessions.clear()
  }
}
