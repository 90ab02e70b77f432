// What clients do with a sandbox that they have, and what strangers try.

import { parseMoment } from '../../../control/sandbox/moment.ts'
import type { KnownSandbox } from './model.ts'
import type { Session } from './session.ts'

export class Uses {
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  get(sandbox: KnownSandbox): void {
    this.#session.ask(this.#session.of(sandbox, 'GET', ''), (answer) =>
      this.#session.judgeShown(sandbox, answer, 'get'),
    )
  }

  renew(sandbox: KnownSandbox, pick: number, amount: number): void {
    const seconds = pick % 4 === 0 ? 5 + (amount % 60) : 60 + (amount % 4000)
    const wanted = this.#session.simulation.now() + seconds * 1000 + (++this.#session.names % 1000)
    const { hasEnd } = sandbox
    const asked = sandbox.beginRenewal(wanted)
    const began = ++this.#session.clock
    this.#session.ask(
      this.#session.of(sandbox, 'POST', '/renew-expiration', { expiresAt: new Date(wanted).toISOString() }),
      (answer) => {
        const { status, body } = answer
        if (status === 200) {
          if (!hasEnd) this.#session.fault(`renew gave an end to a sandbox without one: ${answer.text}`)
          if (parseMoment(String(body.expiresAt)) !== wanted)
            this.#session.fault(`renew answered ${answer.text} for ${wanted}`)
          if (sandbox.isDeleted) this.#session.fault('renew of a deleted sandbox succeeded')
          sandbox.settleRenewal(asked, began, ++this.#session.clock)
          sandbox.mayBeExpired = sandbox.earliestEnd <= this.#session.simulation.now()
          return
        }
        sandbox.refuseRenewal(asked)
        if (status === 409 && (!hasEnd || !sandbox.mustLive())) return
        if (this.#session.isGoneLegally(sandbox, status)) return
        this.#session.fault(`renew answered ${status} ${answer.text}`)
      },
      () => (hasEnd ? sandbox.loseRenewal(asked, ++this.#session.clock) : sandbox.refuseRenewal(asked)),
    )
  }

  turn(sandbox: KnownSandbox, kind: 'pause' | 'resume'): void {
    const [from, to] = kind === 'pause' ? (['Running', 'Paused'] as const) : (['Paused', 'Running'] as const)
    const before = sandbox.exact
    sandbox.exact = undefined
    const about = this.#session.circumstances(sandbox)
    sandbox.busy++
    sandbox.touched++
    this.#session.ask(
      this.#session.of(sandbox, 'POST', `/${kind}`),
      (answer) => {
        sandbox.busy--
        const { status } = answer
        const isAlone = about.busy === 0 && about.touched + 1 === sandbox.touched && sandbox.mustLive()
        if (status === 202) {
          if (isAlone && before && before !== from)
            this.#session.fault(`${kind} of a sandbox that is ${before} answered 202`)
          if (isAlone) sandbox.exact = to
          return
        }
        if (status === 409) {
          if (isAlone && before === from && !this.#session.hadTrouble(about))
            this.#session.fault(`${kind} of a sandbox that is ${before} answered 409 ${answer.text}`)
          if (isAlone && before !== from) sandbox.exact = before
          return
        }
        if (
          status === 500 &&
          (sandbox.isDisturbed || this.#session.hadTrouble(about)) &&
          String(answer.body.code).startsWith('DOCKER::')
        )
          return
        if (this.#session.isGoneLegally(sandbox, status)) return
        this.#session.fault(`${kind} answered ${status} ${answer.text}`)
      },
      () => void sandbox.busy--,
    )
  }

  delete(sandbox: KnownSandbox): void {
    const about = this.#session.circumstances(sandbox)
    const couldBeGone = !sandbox.mustLive()
    sandbox.mayBeDeleted = true
    sandbox.touched++
    this.#session.ask(this.#session.of(sandbox, 'DELETE', ''), (answer) => {
      const { status } = answer
      if (status === 204) sandbox.isDeleted = true
      else if (
        status === 404 &&
        (couldBeGone || sandbox.isDeleted || sandbox.mayBeExpired || about.touched + 1 !== sandbox.touched)
      )
        return
      else if (
        status === 500 &&
        answer.body.code === 'DOCKER::SANDBOX_DELETE_FAILED' &&
        this.#session.hadTrouble(about)
      )
        return
      else this.#session.fault(`delete answered ${status} ${answer.text}`)
    })
  }

  patch(sandbox: KnownSandbox, pick: number): void {
    const removable = [...sandbox.labels].filter(([key, state]) => state === 'set' && !key.startsWith('op-'))
    const [removed] = pick % 3 === 0 ? (removable[0] ?? []) : []
    const added = `k${++this.#session.names}`
    const patch: Record<string, string | null> = { [added]: 'x', ...(removed && { [removed]: null }) }
    for (const key of Object.keys(patch)) sandbox.labels.set(key, 'maybe')
    this.#session.ask(this.#session.of(sandbox, 'PATCH', '/metadata', patch), (answer) => {
      if (answer.status === 200) {
        sandbox.labels.set(added, 'set')
        if (removed) sandbox.labels.set(removed, 'removed')
        this.#session.judgeShown(sandbox, answer, 'patch')
      } else if (!this.#session.isGoneLegally(sandbox, answer.status))
        this.#session.fault(`patch answered ${answer.status} ${answer.text}`)
    })
  }

  /** Somebody else tries, and somebody tries what nobody has made. */
  async beStranger(sandbox: KnownSandbox | undefined, pick: number): Promise<void> {
    const key = this.#session.keys[sandbox?.tenant === 'red' ? 'blue' : 'red'] ?? ''
    const foreign = [...this.#session.simulation.runtime.foreign.keys()][0] ?? ''
    const id = pick % 2 === 0 ? foreign : (sandbox?.id ?? foreign)
    const tries: [string, string, unknown?][] = [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/pause'],
      ['PATCH', '/metadata', { stolen: 'x' }],
      ['POST', '/renew-expiration', { expiresAt: '2099-01-01' }],
    ]
    for (const [method, path, body] of tries) {
      const answer = await this.#session.wait({
        method,
        path: `/v1/sandboxes/${id}${path}`,
        key,
        ...(body !== undefined && { body }),
      })
      if (answer.status !== 404)
        this.#session.fault(`${method} ${path} by a stranger answered ${answer.status} ${answer.text}`)
    }
  }
}
