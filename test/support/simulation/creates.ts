// Creates, and what becomes of those that were not answered.

import { parseMoment } from '../../../control/sandbox/moment.ts'
import type { Operator } from './operator.ts'
import { POOL, type Session, TENANTS } from './session.ts'
import type { Call } from './simulation.ts'

type Wanted = { tenant: string; isPooled: boolean }

export class Creates {
  readonly #session: Session
  readonly #operator: Operator
  readonly #creating = new Map<string, Wanted>()
  readonly lostCreates = new Map<string, Wanted>()
  /** Creates with an Idempotency-Key that were not answered. */
  readonly #orders = new Map<string, Wanted & { call: Call }>()
  readonly #failedCreates = new Set<string>()

  constructor(session: Session, operator: Operator) {
    this.#session = session
    this.#operator = operator
  }

  create(kind: 'create' | 'claim' | 'leave', pick: number, amount: number): void {
    const isPooled = kind === 'claim'
    const tenant = isPooled ? POOL.tenant : (TENANTS[pick % TENANTS.length] ?? 'red')
    const marker = `op-${++this.#session.names}`
    const timeout = amount % 3 === 0 ? undefined : 60 + (amount % 600)
    const shape = isPooled
      ? {
          extensions: { poolRef: 'p' },
          ...(pick % 2 === 0 && { networkPolicy: { egress: [{ action: 'allow', target: 'a.example' }] } }),
          ...(pick % 5 === 0 && { env: { A: 'b' } }),
        }
      : {
          image: { uri: 'debian', ...(pick % 7 === 0 && { auth: { username: 'u', password: 'p' } }) },
          entrypoint: ['sleep', '1000'],
          resourceLimits: { cpu: '500m', memory: '64Mi' },
        }
    const isOnce = pick % 3 === 0
    const leaving = new AbortController()
    if (kind === 'leave') setTimeout(() => leaving.abort(), 1 + (amount % 300))
    this.#creating.set(marker, { tenant, isPooled })
    const quotaBefore = this.#operator.quotas[tenant]
    const changesBefore = this.#operator.quotaChanges
    const about = this.#session.circumstances()
    const call: Call = {
      method: 'POST',
      path: '/v1/sandboxes',
      key: this.#session.keys[tenant] ?? '',
      body: { ...shape, metadata: { [marker]: 'x' }, ...(timeout !== undefined && { timeout }) },
      headers: isOnce ? { 'idempotency-key': marker } : {},
    }
    this.#session.ask(
      kind === 'leave' ? { ...call, signal: leaving.signal } : call,
      (answer) => {
        this.#creating.delete(marker)
        const { status, body } = answer
        if (status === 202) {
          if (kind === 'leave' && leaving.signal.aborted) {
            // The answer and the leaving crossed.
            this.lostCreates.set(marker, { tenant, isPooled })
            return
          }
          const expiresAt =
            body.expiresAt === undefined ? null : (parseMoment(String(body.expiresAt)) ?? Number.NaN)
          if ((expiresAt === null) !== (timeout === undefined))
            this.#session.fault(`create answered expiresAt ${expiresAt}`)
          const sandbox = this.#session.meet(String(body.id), tenant, { expiresAt, isPooled, marker })
          const { state } = body.status as { state: string }
          if (state !== 'Running' && state !== 'Pending')
            this.#session.fault(`create answered the state ${state}`)
          if (state === 'Running' && !this.#session.hadTrouble(about)) sandbox.exact = 'Running'
          if (quotaBefore !== undefined && changesBefore === this.#operator.quotaChanges) {
            const certain = this.#session.known.filter(
              (other) =>
                other.tenant === tenant && other.mustLive() && other.exact && other.exact !== 'Ended',
            ).length
            if (certain > quotaBefore)
              this.#session.fault(`${certain} sandboxes of ${tenant} above its quota of ${quotaBefore}`)
          }
          return
        }
        this.#failedCreates.add(marker)
        const code = String(body.code)
        const rows = this.#session.simulation.isServing
          ? this.#session.simulation.store.all().filter((row) => row.tenant === tenant && !row.warm)
          : []
        const possible = Math.max(
          rows.length,
          this.#session.known.filter((other) => other.tenant === tenant).length,
        )
        const isLegal =
          (status === 403 &&
            code === 'KUBERNETES::QUOTA_EXCEEDED' &&
            (changesBefore !== this.#operator.quotaChanges ||
              (quotaBefore !== undefined && possible + this.#creating.size >= quotaBefore))) ||
          (isPooled && status === 429 && code === 'KUBERNETES::POOL_CAPACITY_EXHAUSTED') ||
          (status === 500 &&
            code === 'DOCKER::SANDBOX_START_FAILED' &&
            (this.#session.hadTrouble(about) || isPooled)) ||
          (status === 409 &&
            code === 'DOCKER::SANDBOX_DELETED' &&
            (leaving.signal.aborted || this.#session.hadJump(about))) ||
          (status === 404 && code === 'DOCKER::SANDBOX_NOT_FOUND' && this.#session.hadJump(about)) ||
          (status === 503 && !this.#session.simulation.isServing)
        if (!isLegal) this.#session.fault(`create answered ${status} ${answer.text}`)
      },
      () => {
        this.#creating.delete(marker)
        this.lostCreates.set(marker, { tenant, isPooled })
        if (isOnce) this.#orders.set(marker, { call, tenant, isPooled })
      },
    )
  }

  /** Asks once more for what was asked for by a key and not answered: there is one sandbox of it at most. */
  retry(): void {
    const [marker, order] = [...this.#orders][0] ?? []
    if (!marker || !order) return
    this.#orders.delete(marker)
    this.#creating.set(marker, order)
    this.#session.ask(
      order.call,
      ({ status, body, text }) => {
        this.#creating.delete(marker)
        if (status !== 202) {
          if (String(body.code) === 'GENERAL::UNKNOWN_ERROR' || status === 422)
            this.#session.fault(`a create that was sent again answered ${status} ${text}`)
          return
        }
        const id = String(body.id)
        const known = this.#session.known.find(({ labels }) => labels.has(marker))
        if (known && known.id !== id)
          this.#session.fault(`a create that was sent again made ${id} beside ${known.id}`)
        const row = this.#session.simulation.store.get(id)
        this.lostCreates.delete(marker)
        if (!known && row && !row.hidden && !this.#session.gone.has(id))
          this.#session.meet(id, order.tenant, { expiresAt: row.expiresAt, isPooled: order.isPooled, marker })
      },
      () => {
        this.#creating.delete(marker)
        this.lostCreates.set(marker, order)
        this.#orders.set(marker, order)
      },
    )
  }

  /** A sandbox whose create was not answered: it may be there, as a whole one. */
  discover(id: string, metadata: Record<string, string>, isCalm: boolean): void {
    const marker = Object.keys(metadata).find((key) => key.startsWith('op-')) ?? ''
    if (this.#creating.has(marker)) return
    if (this.#failedCreates.has(marker)) {
      if (isCalm) this.#session.fault(`${id} is listed, but its create was answered with a failure`)
      return
    }
    const lost = this.lostCreates.get(marker)
    if (!lost) throw new Error(`${id} is listed, and nobody has made it: ${JSON.stringify(metadata)}`)
    const row = this.#session.simulation.store.get(id)
    // Begun by a life that ended before it said so to anybody: it goes soon.
    if (!row?.acknowledged) return
    this.lostCreates.delete(marker)
    const { expiresAt } = row
    this.#session.meet(id, lost.tenant, { expiresAt, isPooled: lost.isPooled, marker })
  }
}
