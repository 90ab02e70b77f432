// How far the images of sandboxes are that are being made, in words for clients. It is kept in memory and not in rows: it changes every
// second for everybody who waits for the same pull, and after a restart a create is begun anew.

import type { SandboxRow } from '../store/rows.ts'

export type Followed = {
  tell: (message: string) => void
  /** Nothing is shown of it any more. */
  end: () => void
}

export class PullProgress {
  readonly #of = new Map<string, { message: string | null }>()

  /** Begins to show what is told of a sandbox. */
  follow(id: string): Followed {
    const told: { message: string | null } = { message: null }
    this.#of.set(id, told)
    return {
      tell: (message) => {
        told.message = message
      },
      end: () => {
        if (this.#of.get(id) === told) this.#of.delete(id)
      },
    }
  }

  /** A row as clients see it: with how far its image is while it is pending. */
  shown(row: SandboxRow): SandboxRow {
    const message = row.state === 'Pending' ? this.#of.get(row.id)?.message : undefined
    return message == null ? row : { ...row, message }
  }
}
