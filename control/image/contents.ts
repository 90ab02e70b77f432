// The unpacked images on the disk: `{id}/rootfs` beside `{id}/image.json`. One is built in a directory of its own and renamed when it is
// whole, and renamed away before it is removed; what a crash left of either is cleared at the next start.

import { existsSync, renameSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageOrigin } from '../../lib/api/images.ts'
import { removeTree } from '../remove-tree.ts'
import type { Image } from './image.ts'
import type { Progress } from './shared-work.ts'
import type { Source } from './sources.ts'
import { usageOf } from './space.ts'

/** What is remembered of one. */
export type Content = Image & {
  /** As it was named by who had it made. */
  reference: string
  origin: ImageOrigin
  sizeBytes: number
  createdAt: number
}
type Stored = Omit<Content, 'id' | 'rootfs'>
/** What version 1 remembered. */
type OldStored = Pick<Stored, 'reference' | 'config' | 'hostDirs'>

const ID = /^[0-9a-f]{32}$/

export class Contents {
  readonly folder: string
  readonly #known = new Map<string, Content>()

  private constructor(folder: string) {
    this.folder = folder
  }

  /** Opens the directory and clears what was interrupted. */
  static async open(folder: string): Promise<Contents> {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    for (const name of await readdir(folder)) if (name.startsWith('.')) await removeTree(join(folder, name))
    return new Contents(folder)
  }

  has(id: string): boolean {
    return ID.test(id) && existsSync(this.#file(id))
  }

  async get(id: string): Promise<Content | undefined> {
    const known = this.#known.get(id)
    if (known) return known
    if (!this.has(id)) return undefined
    const stored = JSON.parse(await readFile(this.#file(id), 'utf8')) as Stored | OldStored
    const content = {
      ...('origin' in stored ? stored : await this.#complete(id, stored)),
      ...this.#place(id),
    }
    // It may have been removed meanwhile.
    if (!this.has(id)) return undefined
    this.#known.set(id, content)
    return content
  }

  async list(): Promise<Content[]> {
    const ids = (await readdir(this.folder)).filter((name) => this.has(name))
    const found = await Promise.all(ids.map((id) => this.get(id)))
    return found.filter((content) => content !== undefined)
  }

  /** Makes what a source describes. When it rejects, nothing of it is left. */
  async build(
    source: Source,
    { signal, progress, now }: { signal: AbortSignal; progress: Progress; now: () => number },
  ): Promise<void> {
    const folder = await mkdtemp(join(this.folder, '.new-'))
    try {
      const { config, digest, sizeBytes } = await source.build(folder, signal, progress)
      const stored: Stored = {
        reference: source.shownAs,
        config,
        hostDirs: source.hostDirs,
        origin: source.origin,
        ...(digest !== undefined && { digest }),
        sizeBytes,
        createdAt: now(),
      }
      await writeFile(join(folder, 'image.json'), JSON.stringify(stored))
      await this.#putInPlace(folder, source.id)
    } catch (error) {
      await removeTree(folder)
      throw error
    }
  }

  /** Takes one away, at once for everybody, and then removes it. */
  async remove(id: string): Promise<void> {
    const gone = join(this.folder, `.old-${id}`)
    renameSync(join(this.folder, id), gone)
    this.#known.delete(id)
    await removeTree(gone)
  }

  /** One that is there already stays, as sandboxes may use it. */
  async #putInPlace(folder: string, id: string): Promise<void> {
    try {
      await rename(folder, join(this.folder, id))
    } catch (error) {
      // A build that was given up may have come to its end all the same.
      if (!this.has(id)) throw error
      await removeTree(folder)
    }
  }

  async #complete(id: string, stored: OldStored): Promise<Stored> {
    const { rootfs } = this.#place(id)
    const [{ mtimeMs }, { bytes }] = await Promise.all([
      stat(this.#file(id)),
      usageOf(rootfs, AbortSignal.timeout(60_000)),
    ])
    const complete: Stored = {
      ...stored,
      origin: stored.hostDirs.length > 0 ? 'host' : 'registry',
      sizeBytes: bytes,
      createdAt: Math.round(mtimeMs),
    }
    await writeFile(`${this.#file(id)}.new`, JSON.stringify(complete))
    await rename(`${this.#file(id)}.new`, this.#file(id))
    return complete
  }

  #file(id: string): string {
    return join(this.folder, id, 'image.json')
  }

  #place(id: string): Pick<Image, 'id' | 'rootfs'> {
    return { id, rootfs: join(this.folder, id, 'rootfs') }
  }
}
