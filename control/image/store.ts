// The images of this installation, each unpacked once and shared by all its sandboxes: `images/{key}/rootfs` beside
// `image.json`. An image is built in a directory of its own and renamed when it is whole; what a crash left is cleared at
// the next start. A reference is resolved in this order: alias, `host`, archive, what is in the store, registry (design D6b).

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { removeTree } from '../remove-tree.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { archiveKindOf, unpackRootTarball } from './archive.ts'
import { imageFailure } from './failure.ts'
import { HOST_DIRS, HOST_IMAGE_CONFIG, hostImageKey, makeHostRoot } from './host.ts'
import { DEFAULT_PATH, type Image, type ImageConfig } from './image.ts'
import { pullImage, registryOf } from './pull.ts'
import { type Progress, SharedWork } from './shared-work.ts'

export type ImageStoreOptions = {
  dataDir: string
  /** Alias to reference, or to the path of an archive. */
  aliases: Record<string, string>
  insecureRegistries: string[]
  proxyEnvironment?: Record<string, string>
  pullTimeoutMs: number
  log: Logger
  /** Ends what is still being pulled. */
  signal: AbortSignal
}

type Auth = { username: string; password: string }
type Source = {
  key: string
  build: (folder: string, signal: AbortSignal, progress: Progress) => Promise<ImageConfig>
  hostDirs: string[]
}

const TEMPORARY = '.new-'

export class ImageStore {
  readonly #options: ImageStoreOptions
  readonly #folder: string
  readonly #building = new Map<string, SharedWork<Image>>()
  readonly #known = new Map<string, Image>()

  private constructor(options: ImageStoreOptions) {
    this.#options = options
    this.#folder = join(options.dataDir, 'images')
  }

  /** Opens the store and clears what an interrupted build has left. */
  static async open(options: ImageStoreOptions): Promise<ImageStore> {
    const store = new ImageStore(options)
    await mkdir(store.#folder, { recursive: true, mode: 0o700 })
    for (const name of await readdir(store.#folder))
      if (name.startsWith(TEMPORARY)) await removeTree(join(store.#folder, name))
    return store
  }

  /**
   * The image of a reference, from the store or made now; `progress` is told how far that is. Rejects with RuntimeError, or the
   * signal's reason.
   */
  async resolve(
    reference: string,
    auth: Auth | undefined,
    signal: AbortSignal,
    progress: Progress = () => {},
  ): Promise<Image> {
    const source = await this.#sourceOf(reference, auth, signal)
    const key = createHash('sha256').update(source.key).digest('hex').slice(0, 32)
    const known = this.#known.get(key) ?? (await this.#load(key))
    if (known) return known
    // Nothing is begun for who has left already: nobody would wait for it, or end it.
    signal.throwIfAborted()
    // One build for all who wait for it; a caller that leaves does not take it from the others.
    let building = this.#building.get(key)
    if (!building || building.isAbandoned) {
      const begun = new SharedWork<Image>(
        (ended, tell) => this.#build(key, source, { reference, signal: ended, progress: tell }),
        this.#options.signal,
      )
      this.#building.set(key, begun)
      void begun.settled().then(() => {
        if (this.#building.get(key) === begun) this.#building.delete(key)
      })
      building = begun
    }
    return await building.join(signal, progress)
  }

  async #sourceOf(reference: string, auth: Auth | undefined, signal: AbortSignal): Promise<Source> {
    const { aliases, insecureRegistries, proxyEnvironment, pullTimeoutMs } = this.#options
    // An image may have the name of something that every object has.
    const target = (Object.hasOwn(aliases, reference) ? aliases[reference] : undefined) ?? reference
    const isAlias = target !== reference
    if (target === 'host')
      return {
        key: hostImageKey(),
        hostDirs: HOST_DIRS,
        build: async (folder) => {
          await mkdir(join(folder, 'rootfs'), { mode: 0o755 })
          await makeHostRoot(join(folder, 'rootfs'))
          return HOST_IMAGE_CONFIG
        },
      }
    // Only the operator's configuration names files of this machine; a client's reference never does.
    if (isAlias && isAbsolute(target)) return await this.#archiveSource(reference, target, signal)
    checkReference(reference, target)
    const registry = registryOf(target)
    return {
      key: `registry ${target}${auth ? ` as ${auth.username}:${auth.password}` : ''}`,
      hostDirs: [],
      build: (folder, buildSignal, progress) =>
        pullImage(`docker://${target}`, reference, {
          folder,
          progress,
          ...(auth && { auth }),
          insecure: insecureRegistries.includes(registry),
          ...(proxyEnvironment && { env: proxyEnvironment }),
          signal: buildSignal,
          timeoutMs: pullTimeoutMs,
        }),
    }
  }

  async #archiveSource(alias: string, path: string, signal: AbortSignal): Promise<Source> {
    const found = await stat(path).catch((error) => {
      throw new RuntimeError(
        'image_not_found',
        `Image "${alias}" is "${path}" by the configuration, which cannot be read (${systemCodeOf(error)})`,
        { cause: error },
      )
    })
    signal.throwIfAborted()
    const timeoutMs = this.#options.pullTimeoutMs
    return {
      key: `archive ${path} ${found.size} ${found.mtimeMs}`,
      hostDirs: [],
      build: async (folder, buildSignal, progress) => {
        const kind = await archiveKindOf(path, buildSignal)
        if (kind !== 'rootfs') {
          const transport = kind === 'oci-layout' ? 'oci' : kind
          return await pullImage(`${transport}:${path}`, alias, {
            folder,
            progress,
            signal: buildSignal,
            timeoutMs,
          })
        }
        progress(`Unpacking image "${alias}"`)
        await unpackRootTarball(path, join(folder, 'rootfs'), { signal: buildSignal, timeoutMs })
        return { env: { PATH: DEFAULT_PATH }, workdir: '/', uid: 0, gid: 0 }
      },
    }
  }

  async #build(
    key: string,
    source: Source,
    { reference, signal, progress }: { reference: string; signal: AbortSignal; progress: Progress },
  ): Promise<Image> {
    const { log } = this.#options
    const startedAt = performance.now()
    let folder: string | undefined
    try {
      folder = await mkdtemp(join(this.#folder, TEMPORARY))
      const config = await source.build(folder, signal, progress)
      const image = { reference, config, hostDirs: source.hostDirs }
      await writeFile(join(folder, 'image.json'), JSON.stringify(image))
      await this.#place(folder, key)
    } catch (error) {
      if (folder) await removeTree(folder)
      signal.throwIfAborted()
      throw imageFailure(error, 'image_pull_failed', `Cannot make image "${reference}"`)
    }
    log.info('image is there', { image: reference, ms: Math.round(performance.now() - startedAt) })
    const image = await this.#load(key)
    if (!image)
      throw new RuntimeError('image_pull_failed', `Image "${reference}" was removed while it was made`)
    return image
  }

  /** Puts a whole image where it is found; one that is there already stays, as sandboxes may use it. */
  async #place(folder: string, key: string): Promise<void> {
    try {
      await rename(folder, join(this.#folder, key))
    } catch (error) {
      // A build that was given up may have come to its end all the same.
      if (!existsSync(join(this.#folder, key, 'image.json'))) throw error
      await removeTree(folder)
    }
  }

  async #load(key: string): Promise<Image | undefined> {
    const folder = join(this.#folder, key)
    if (!existsSync(join(folder, 'image.json'))) return undefined
    const stored = JSON.parse(await readFile(join(folder, 'image.json'), 'utf8')) as Omit<Image, 'rootfs'>
    const image = { rootfs: join(folder, 'rootfs'), config: stored.config, hostDirs: stored.hostDirs }
    this.#known.set(key, image)
    return image
  }
}

// What skopeo would take for one of its own options or for another transport never reaches it.
function checkReference(reference: string, target: string): void {
  if (
    /^[a-zA-Z0-9][\w.-]*(:\d+)?(\/[\w.-]+)*(:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?$/.test(target) &&
    target.length <= 512
  )
    return
  throw new RuntimeError(
    'image_not_found',
    `There is no image "${reference.slice(0, 200)}": it is neither an alias of the configuration nor a reference such as "registry.example/name:tag"`,
  )
}
