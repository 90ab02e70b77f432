// Connections to sandboxes and to control. Idle ones are kept for the next request to the very same place in the very same
// life of the sandbox: an address may belong to another sandbox a moment later. When a route changes its life or goes away,
// all its connections are cut, because nothing else might ever end them, and the kernel would go on sending what has not arrived.

import { Lanes } from '../../lib/lanes.ts'
import { ReadMemory } from '../../lib/read-memory.ts'
import { countedAs } from '../front/client-counts.ts'
import { H2cSessions } from './h2c-sessions.ts'
import { type Target, Upstream } from './upstream.ts'

export type PoolLimits = {
  /** Connections to one place, idle ones included. */
  perTarget: number
  /** Connections to one sandbox, whatever the port. */
  perGroup: number
  idlePerTarget: number
  idleTotal: number
}

export type TakeOptions = {
  /** The address of the client for whom it is. */
  client: string
  /** The request may be sent again, so a connection that was idle for longer may be tried. */
  repeatable: boolean
  now: number
}

const LIMITS: PoolLimits = { perTarget: 1024, perGroup: 1024, idlePerTarget: 64, idleTotal: 2048 }

export class UpstreamPool {
  readonly #limits: PoolLimits
  readonly #memory = new ReadMemory()
  readonly #idle = new Map<string, Upstream[]>()
  readonly #counts = new Map<string, number>()
  readonly #groups = new Map<string, Set<Upstream>>()
  readonly #sessions = new H2cSessions()
  /** Control is everybody's, so nobody takes all places there. */
  readonly #lanes: Lanes
  #idleTotal = 0

  constructor(limits: Partial<PoolLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits }
    this.#lanes = new Lanes(this.#limits.perTarget)
  }

  get idleTotal(): number {
    return this.#idleTotal
  }

  /** A connection that was used before if there is one, else a new one; undefined when there are too many. */
  take(target: Target, { repeatable, now, client }: TakeOptions): Upstream | undefined {
    const whose = target.group === '' ? countedAs(client) : undefined
    if (whose !== undefined && !this.#lanes.isOpenTo(whose)) return undefined
    const upstream = this.#takeIdle(target, repeatable, now) ?? this.#open(target)
    if (upstream && whose !== undefined) upstream.leave = this.#lanes.take(whose)
    return upstream
  }

  #takeIdle(target: Target, repeatable: boolean, now: number): Upstream | undefined {
    const idle = this.#idle.get(target.key)
    // The youngest first, so that the others can grow old.
    for (let upstream = idle?.pop(); upstream; upstream = idle?.pop()) {
      this.#idleTotal--
      if (idle?.length === 0) this.#idle.delete(target.key)
      if (upstream.mayServe(repeatable, now)) {
        upstream.reused = true
        return upstream
      }
      upstream.socket.destroy()
    }
    return undefined
  }

  /** A new connection in place of one that turned out to be gone; undefined when there are too many. */
  replace(gone: Upstream): Upstream | undefined {
    const { leave } = gone
    gone.leave = undefined
    const upstream = this.#open(gone.target)
    if (upstream) upstream.leave = leave
    else leave?.()
    return upstream
  }

  /** A new connection; undefined when there are too many. */
  #open(target: Target): Upstream | undefined {
    const count = this.#counts.get(target.key) ?? 0
    if (count >= this.#limits.perTarget || !this.#makeRoom(target.group)) return undefined
    this.#counts.set(target.key, count + 1)
    const upstream = new Upstream(target, {
      memory: this.#memory,
      sessions: this.#sessions,
      onClose: (closed) => this.#forget(closed),
    })
    let group = this.#groups.get(target.group)
    if (!group) {
      group = new Set()
      this.#groups.set(target.group, group)
    }
    group.add(upstream)
    return upstream
  }

  /** Whether the sandbox may have one more; an idle one gives way. Control is no sandbox. */
  #makeRoom(group: string): boolean {
    const members = this.#groups.get(group)
    if (group === '' || !members || members.size < this.#limits.perGroup) return true
    for (const member of members) {
      if (member.user || !member.connected || member.socket.destroyed) continue
      member.socket.destroy()
      return true
    }
    return false
  }

  /** Takes back a connection whose last answer was complete. */
  release(upstream: Upstream, now: number): void {
    upstream.rest()
    const { key } = upstream.target
    const idle = this.#idle.get(key)
    const isFull =
      this.#idleTotal >= this.#limits.idleTotal || (idle?.length ?? 0) >= this.#limits.idlePerTarget
    if (isFull || upstream.socket.destroyed || upstream.target.isH2c) {
      upstream.socket.destroy()
      return
    }
    upstream.idleSince = now
    this.#idleTotal++
    if (idle) idle.push(upstream)
    else this.#idle.set(key, [upstream])
  }

  /** Cuts the connections of one sandbox, all of them or those of other lives than `exceptKey` begins with. */
  cut(group: string, exceptKeyPrefix?: string): void {
    this.#sessions.cut(group, exceptKeyPrefix)
    const members = this.#groups.get(group)
    if (!members) return
    for (const upstream of [...members]) {
      if (exceptKeyPrefix !== undefined && upstream.target.key.startsWith(exceptKeyPrefix)) continue
      upstream.cutOff()
    }
  }

  /** Closes what has been idle for too long. */
  sweep(now: number): void {
    for (const idle of [...this.#idle.values()])
      for (const upstream of [...idle]) if (!upstream.mayServe(true, now)) upstream.socket.destroy()
  }

  close(): void {
    this.#sessions.close()
    for (const members of [...this.#groups.values()])
      for (const upstream of [...members]) upstream.socket.destroy()
  }

  #forget(upstream: Upstream): void {
    upstream.giveBack()
    const { key, group } = upstream.target
    const count = (this.#counts.get(key) ?? 1) - 1
    if (count > 0) this.#counts.set(key, count)
    else this.#counts.delete(key)
    const idle = this.#idle.get(key)
    const at = idle?.indexOf(upstream) ?? -1
    if (idle && at >= 0) {
      idle.splice(at, 1)
      this.#idleTotal--
      if (idle.length === 0) this.#idle.delete(key)
    }
    const members = this.#groups.get(group)
    members?.delete(upstream)
    if (members?.size === 0) this.#groups.delete(group)
  }
}
