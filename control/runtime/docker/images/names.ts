// The names under which the daemon has the images of this installation. Whoever else uses the daemon keeps theirs: nothing is removed
// but what bears such a name.

import type { ImageOrigin } from '../../../../lib/api/images.ts'
import type { Reference } from '../../../image/reference.ts'

/** `pulled`: brought by us, and removed by us. `found`: it was there before, and stays when we are done with it. */
export const NAME_KINDS = ['pulled', 'found', 'archive', 'host'] as const
export type NameKind = (typeof NAME_KINDS)[number]

export const ORIGINS: Record<NameKind, ImageOrigin> = {
  pulled: 'registry',
  found: 'registry',
  archive: 'archive',
  host: 'host',
}

/** Whether a reference is a name that some installation gives: what lies there is nobody's to name, but by what it was made for. */
export function isInternal({ registry, repository }: Reference): boolean {
  return registry === 'docker.io' && /^(library\/)?opensandbox-/.test(repository)
}

export type OurName = { repository: string; tag: string; full: string }

export class Names {
  readonly #prefix: string

  /** `key` names the installation. */
  constructor(key: string) {
    this.#prefix = `opensandbox-${key}`
  }

  /** The name of a content. */
  of(id: string, kind: NameKind): OurName {
    const repository = `${this.#prefix}/${kind}`
    return { repository, tag: id, full: `${repository}:${id}` }
  }

  /** What a listing is filtered by. */
  get filters(): string[] {
    return NAME_KINDS.map((kind) => `${this.#prefix}/${kind}`)
  }

  /** The content that a name stands for; undefined when it is none of ours. */
  read(name: string): { id: string; kind: NameKind } | undefined {
    const at = name.lastIndexOf(':')
    const kind = NAME_KINDS.find((each) => name.slice(0, at) === `${this.#prefix}/${each}`)
    const id = name.slice(at + 1)
    return kind && /^[0-9a-f]{32}$/.test(id) ? { id, kind } : undefined
  }
}
