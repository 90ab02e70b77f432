// What an operator does: keys, quotas, the pool.

import type { SandboxRow } from '../../../control/store/rows.ts'
import { POOL, type Session, TENANTS } from './session.ts'

type KeyModel = { id: string; secret: string; state: 'opens' | 'revoked' | 'maybe' }

export class Operator {
  readonly #session: Session
  readonly #made: KeyModel[] = []
  /** How many sandboxes each tenant may have, as far as that is known. */
  readonly quotas: Record<string, number | undefined> = {}
  quotaChanges = 0

  constructor(session: Session) {
    this.#session = session
  }

  async begin(): Promise<void> {
    await this.#session.simulation.start()
    for (const tenant of TENANTS) {
      const { body } = await this.#session.wait({
        method: 'POST',
        path: '/v1/admin/keys',
        body: { name: tenant, tenant },
      })
      this.#session.keys[tenant] = String(body.key)
    }
    const made = await this.#session.wait({
      method: 'POST',
      path: `/v1/pools?tenant=${POOL.tenant}`,
      body: {
        name: 'p',
        template: {
          image: 'debian',
          entrypoint: ['sleep', '9'],
          resourceLimits: { cpu: '1', memory: '64Mi' },
        },
        capacitySpec: {
          bufferMin: POOL.bufferMin,
          bufferMax: POOL.bufferMax,
          poolMin: 0,
          poolMax: POOL.poolMax,
        },
      },
    })
    if (made.status !== 201) throw new Error(`no pool: ${made.text}`)
  }

  changeKeys(pick: number, amount: number): void {
    const open = this.#made.filter(({ state }) => state === 'opens')
    const old = open[pick % Math.max(open.length, 1)]
    if (!old || (amount % 3 === 0 && open.length < 5)) {
      const body = { name: `key-${++this.#session.names}`, role: 'read-only', tenant: TENANTS[pick % 2] }
      this.#session.ask({ method: 'POST', path: '/v1/admin/keys', body }, ({ status, body, text }) => {
        if (status !== 201) this.#session.fault(`the making of a key answered ${status} ${text}`)
        this.#made.push({ id: String(body.id), secret: String(body.key), state: 'opens' })
      })
      return
    }
    old.state = 'maybe'
    if (amount % 3 === 1)
      this.#session.ask({ method: 'DELETE', path: `/v1/admin/keys/${old.id}` }, ({ status, text }) => {
        if (status !== 204) this.#session.fault(`the revocation of a key answered ${status} ${text}`)
        old.state = 'revoked'
      })
    else
      this.#session.ask(
        { method: 'POST', path: `/v1/admin/keys/${old.id}/rotate`, body: { graceSeconds: 0 } },
        ({ status, body, text }) => {
          if (status !== 201) this.#session.fault(`the rotation of a key answered ${status} ${text}`)
          old.state = 'revoked'
          this.#made.push({ id: String(body.id), secret: String(body.key), state: 'opens' })
        },
      )
  }

  changeQuota(pick: number, amount: number): void {
    const tenant = TENANTS[pick % 2] ?? 'red'
    this.quotaChanges++
    const sandboxes = 4 + (amount % 8)
    this.#session.ask(
      { method: 'PUT', path: `/v1/admin/tenants/${tenant}/quota`, body: { sandboxes } },
      ({ status, text }) => {
        if (status !== 200) this.#session.fault(`a quota answered ${status} ${text}`)
        this.quotas[tenant] = sandboxes
        this.quotaChanges++
      },
      () => {
        this.quotas[tenant] = undefined
        this.quotaChanges++
      },
    )
  }

  changePool(pick: number): void {
    const template = {
      image: 'debian',
      entrypoint: ['sleep', String(pick % 3)],
      resourceLimits: { cpu: '1', memory: '64Mi' },
    }
    this.#session.ask(
      {
        method: 'PUT',
        path: `/v1/pools/p?tenant=${POOL.tenant}`,
        body: {
          capacitySpec: {
            bufferMin: POOL.bufferMin,
            bufferMax: POOL.bufferMax,
            poolMin: 0,
            poolMax: POOL.poolMax,
          },
          ...(pick % 2 === 0 && { template }),
        },
      },
      ({ status, text }) => {
        if (status !== 200) this.#session.fault(`a pool answered ${status} ${text}`)
      },
    )
  }

  async checkKeys(): Promise<void> {
    for (const { secret, state, id } of this.#made) {
      if (state === 'maybe') continue
      const { status } = await this.#session.wait({
        method: 'GET',
        path: '/v1/sandboxes?pageSize=1',
        key: secret,
      })
      if (status !== (state === 'opens' ? 200 : 401))
        this.#session.fault(`the key ${id} that ${state} was answered ${status}`)
    }
  }

  async checkUsage(): Promise<void> {
    const rows = new Map(
      this.#session.simulation.store.all().map((row): [string, SandboxRow] => [row.id, row]),
    )
    for (const tenant of TENANTS) {
      const things = [...this.#session.simulation.runtime.things.values()].filter(({ id, state }) => {
        const row = rows.get(id)
        return row?.tenant === tenant && !row.warm && state !== 'exited'
      })
      const { body } = await this.#session.wait({ method: 'GET', path: `/v1/admin/tenants/${tenant}` })
      const { sandboxes } = body.used as { sandboxes: number }
      if (sandboxes !== things.length)
        this.#session.fault(`${tenant} has ${things.length} sandboxes, and ${sandboxes} are counted`)
    }
  }
}
