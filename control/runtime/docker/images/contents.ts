// The images of this installation in the daemon, each under a name of ours.

import type Docker from 'dockerode'
import { eachOf } from '../../../async.ts'
import type { Engine } from '../engine.ts'
import { type InspectedImage, inspectImage } from './inspect.ts'
import { NAME_KINDS, type NameKind, Names } from './names.ts'
import { digestNameOf, removeName } from './remove.ts'

export type Content = { id: string; kind: NameKind; image: InspectedImage }

/** So many are looked at side by side. */
const WIDTH = 8

export class DaemonContents {
  readonly engine: Engine
  readonly names: Names

  constructor(engine: Engine, key: string) {
    this.engine = engine
    this.names = new Names(key)
  }

  async find(
    id: string,
    signal: AbortSignal,
    kinds: readonly NameKind[] = NAME_KINDS,
  ): Promise<Content | undefined> {
    for (const kind of kinds) {
      const image = await inspectImage(this.engine, this.names.of(id, kind).full, signal)
      if (image) return { id, kind, image }
    }
    return undefined
  }

  async list(signal: AbortSignal): Promise<Content[]> {
    const filters = { reference: this.names.filters }
    const found = await this.engine.call(
      (abortSignal) => this.engine.docker.listImages({ filters, abortSignal } as object),
      { signal },
    )
    const named = found.flatMap(({ RepoTags }) =>
      (RepoTags ?? []).flatMap((tag) => this.names.read(tag) ?? []),
    )
    const contents: Content[] = []
    await eachOf(named, WIDTH, async ({ id, kind }) => {
      const content = await this.find(id, signal, [kind])
      if (content) contents.push(content)
    })
    return contents
  }

  /** Gives an image of the daemon a name of ours. */
  async name(image: string, id: string, kind: NameKind): Promise<void> {
    const { repository: repo, tag } = this.names.of(id, kind)
    await this.engine.call((abortSignal) => {
      const to: Docker.ImageTagOptions & { abortSignal: AbortSignal } = { repo, tag, abortSignal }
      return this.engine.docker.getImage(image).tag(to)
    })
  }

  /** Takes our name away, and with it the image, if we have brought it; false when a container needs it. */
  async remove({ id, kind, image }: Content, signal: AbortSignal): Promise<boolean> {
    const digest = kind === 'pulled' ? digestNameOf(image, id) : undefined
    // First the name that came with the pull: ours keeps the image until the daemon agrees that nobody needs it.
    if (digest !== undefined) await removeName(this.engine, digest, signal)
    return await removeName(this.engine, this.names.of(id, kind).full, signal)
  }
}
