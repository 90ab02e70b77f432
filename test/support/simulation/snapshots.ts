// What clients do with snapshots, and what must be true of them once all is calm.

import { SnapshotStore } from '../../../control/store/snapshots.ts'
import type { KnownSandbox } from './model.ts'
import type { Session } from './session.ts'
import type { Simulation } from './simulation.ts'

type KnownSnapshot = { id: string; tenant: string; mayBeGone: boolean }

export class SnapshotUses {
  readonly #session: Session
  readonly #known: KnownSnapshot[] = []

  constructor(session: Session) {
    this.#session = session
  }

  take(sandbox: KnownSandbox): void {
    this.#session.ask(this.#session.of(sandbox, 'POST', '/snapshots'), (answer) => {
      const { status } = answer
      const { tenant } = sandbox
      if (status === 202) this.#known.push({ id: String(answer.body.id), tenant, mayBeGone: false })
      // It does not run, or so many are under way.
      else if (status !== 409 && status !== 429 && !this.#session.isGoneLegally(sandbox, status))
        this.#session.fault(`snapshot answered ${status} ${answer.text}`)
    })
  }

  drop(pick: number): void {
    const snapshot = this.#known[pick % Math.max(this.#known.length, 1)]
    if (!snapshot) return
    const couldBeGone = snapshot.mayBeGone
    const about = this.#session.circumstances()
    const key = this.#session.keys[snapshot.tenant] ?? ''
    snapshot.mayBeGone = true
    this.#session.ask({ method: 'DELETE', path: `/v1/snapshots/${snapshot.id}`, key }, (answer) => {
      const { status } = answer
      if (status === 409) snapshot.mayBeGone = couldBeGone
      else if (status === 500 && this.#session.hadTrouble(about)) return
      else if (status !== 204 && !(status === 404 && couldBeGone))
        this.#session.fault(`the deletion of a snapshot answered ${status} ${answer.text}`)
    })
  }

  /** What of rows, of the runtime and of what was acknowledged does not fit together. */
  problems(): string[] {
    const { simulation } = this.#session
    const rows = new Map(new SnapshotStore(simulation.store.database).all().map((row) => [row.id, row]))
    const lost = this.#known.filter(({ id, mayBeGone }) => !mayBeGone && !rows.has(id))
    return [
      ...lost.map(({ id }) => `snapshot ${id} was acknowledged, and is not there`),
      ...[...rows.values()].flatMap(({ id, state }) => rowProblem(simulation, id, state)),
      ...[...simulation.runtime.snapshots].flatMap(([id, isWhole]) =>
        isWhole && rows.get(id)?.state !== 'Ready'
          ? [`the runtime has snapshot ${id}, which is ${rows.get(id)?.state ?? 'unknown'}`]
          : [],
      ),
    ]
  }
}

function rowProblem({ runtime }: Simulation, id: string, state: string): string[] {
  const isKept = runtime.snapshots.get(id) === true
  if (state === 'Ready' ? isKept : state === 'Failed' && !isKept) return []
  return [`snapshot ${id} is ${state}, and ${isKept ? 'whole' : 'not there'} in the runtime`]
}
