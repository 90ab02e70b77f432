// The images of the Docker runtime. They lie in the daemon, where everybody who reaches it sees them; who may use what is decided here all
// the same, as on the local runtime: by what is known of references, and by asking registries. Nothing is looked up by a tag that
// somebody has pulled, but what was built here is the operator's, and everybody's.

import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { PullPolicy } from '../../../lib/api/images.ts'
import { messageOf } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { keptIds } from '../../image/kept.ts'
import { Ledger } from '../../image/ledger.ts'
import { Pins } from '../../image/pins.ts'
import { formatReference, type Reference } from '../../image/reference.ts'
import { createRegistryGuard, type RegistryGuard } from '../../image/registry-guard.ts'
import { resolveReference, targetOf } from '../../image/resolve.ts'
import { type Progress, type SharedWork, shareWork } from '../../image/shared-work.ts'
import { contentId } from '../../image/sources.ts'
import { removeTree } from '../../remove-tree.ts'
import type { ImageRequest, Images, Removal, StoredImage } from '../images.ts'
import { RuntimeError } from '../runtime.ts'
import type { Engine } from './engine.ts'
import { asHostImage } from './host-image.ts'
import { askDigest } from './images/ask.ts'
import { FROM_REGISTRY, localContentId, localSource, registrySource, type Source } from './images/bring.ts'
import { findBuilt } from './images/built.ts'
import { DaemonContents } from './images/contents.ts'
import { describeContent } from './images/describe.ts'
import type { DockerImage } from './images/inspect.ts'
import { Pending } from './images/pending.ts'
import { countContainers, removeName } from './images/remove.ts'
import { Unpacking } from './images/unpacking.ts'

export type DockerImagesOptions = {
  engine: Engine
  /** Names the installation. */
  key: string
  dataDir: string
  /** Alias to reference, or to the path of an archive. */
  aliases: Record<string, string>
  /** Registries that may be asked although they are at addresses of this machine. */
  internalRegistries?: string[]
  /** For requests that name none; `Never` is for all. */
  policy: PullPolicy
  pullTimeoutMs: number
  stallMs?: number
  maxUnpackedBytes: number
  /** Where the daemon keeps its layers, each in a directory of its own; absent where that cannot be seen. */
  layersFolder?: string
  log: Logger
  now: () => number
  /** Ends what is still being pulled. */
  signal: AbortSignal
}

/** An image that is not removed before this is disposed of; `content` is absent for one that was built here. */
export type DockerLease = Disposable & { image: DockerImage; content?: string }

type Asked = { signal: AbortSignal; progress: Progress }
type PullRequest = ImageRequest & { isShared?: boolean }

/** How long a registry has for saying what a reference stands for. */
const ASK_TIMEOUT_MS = 60_000

export class DockerImages implements Images {
  readonly #options: DockerImagesOptions
  readonly #folder: string
  readonly #contents: DaemonContents
  readonly #ledger: Ledger
  readonly #pending: Pending
  readonly #pins = new Pins()
  readonly #guard: RegistryGuard
  readonly #unpacking: Unpacking | undefined
  readonly #bringing = new Map<string, SharedWork<void>>()
  readonly #asking = new Map<string, SharedWork<string>>()
  /** Those that were there when they were last looked at. */
  readonly #seen = new Set<string>()

  private constructor(options: DockerImagesOptions) {
    const { engine, key, dataDir, log, now, aliases, internalRegistries = [], layersFolder } = options
    this.#options = options
    this.#guard = createRegistryGuard({ aliases, allowed: internalRegistries })
    this.#unpacking = layersFolder === undefined ? undefined : new Unpacking(layersFolder)
    this.#folder = join(dataDir, 'docker-images')
    this.#contents = new DaemonContents(engine, key)
    this.#pending = new Pending(join(this.#folder, 'pending'))
    this.#ledger = new Ledger({ path: join(this.#folder, 'ledger.json'), log, now })
  }

  /** Opens the images and clears what an interrupted pull has left. */
  static async open(options: DockerImagesOptions): Promise<DockerImages> {
    const images = new DockerImages(options)
    await mkdir(images.#folder, { recursive: true, mode: 0o700 })
    for (const name of await readdir(images.#folder))
      if (name.startsWith('.')) await removeTree(join(images.#folder, name))
    await images.#clearPending()
    return images
  }

  /** The image of a request, in the daemon or brought now. Rejects with RuntimeError, or the signal's reason. */
  async lease(
    request: PullRequest,
    signal: AbortSignal,
    progress: Progress = () => {},
  ): Promise<DockerLease> {
    const { uri } = request
    const asked = { signal, progress }
    const target = targetOf(uri, this.#options.aliases)
    if (target.kind === 'registry') return await this.#leaseFromRegistry(target.reference, request, asked)
    const source = await localSource(uri, target, this.#bringOptions)
    const lease = await this.#leaseOf(source, asked)
    await this.#ledger.note(uri, { id: source.id }, true)
    return target.kind === 'host' ? { ...lease, image: asHostImage(lease.image) } : lease
  }

  async pull(request: PullRequest, signal: AbortSignal, progress?: Progress): Promise<StoredImage> {
    using lease = await this.lease(request, signal, progress)
    const { image } = lease
    // What was built here gets a name of ours, by which it is seen.
    const id = lease.content ?? contentId(`built ${image.id}`)
    if (!lease.content) await this.#contents.name(image.id, id, 'found')
    const found = (await this.list(signal)).find((each) => each.id === id)
    if (!found)
      throw new RuntimeError('image_pull_failed', `Image "${request.uri}" was removed while it was pulled`)
    return { ...found, users: found.users - (lease.content ? 1 : 0) }
  }

  async list(signal: AbortSignal): Promise<StoredImage[]> {
    const { aliases, now, log, engine } = this.#options
    const [contents, containers, kept] = await Promise.all([
      this.#contents.list(signal),
      countContainers(engine, signal),
      keptIds({ aliases, ledger: this.#ledger, log, idOf: localContentId }),
    ])
    return contents
      .map((content) =>
        describeContent(content, {
          ledger: this.#ledger,
          names: this.#contents.names,
          users: (containers.get(content.image.id) ?? 0) + this.#pins.count(content.id),
          isKept: kept.has(content.id),
          now: now(),
        }),
      )
      .sort((one, other) => other.lastUsedAt - one.lastUsedAt)
  }

  async remove(id: string, signal: AbortSignal): Promise<Removal> {
    const stamp = this.#pins.stamp(id)
    const content = /^[0-9a-f]{32}$/.test(id) ? await this.#contents.find(id, signal) : undefined
    if (!content) return 'absent'
    const containers = await countContainers(this.#options.engine, signal)
    if (containers.has(content.image.id) || this.#pins.count(id) > 0 || this.#pins.stamp(id) !== stamp)
      return 'in_use'
    this.#seen.delete(id)
    // A start that comes now finds it gone, or the daemon finds the start's container and refuses.
    if (!(await this.#contents.remove(content, signal))) return 'in_use'
    await this.#ledger.forget(id)
    return 'removed'
  }

  /** Writes down what only this process knows. */
  async close(): Promise<void> {
    await this.#ledger.close()
  }

  async #leaseFromRegistry(reference: Reference, request: PullRequest, asked: Asked): Promise<DockerLease> {
    const { policy } = this.#options
    const { uri, auth, platform } = request
    for (;;) {
      const built = await findBuilt(
        { ...this.#options, ledger: this.#ledger },
        { reference, request },
        asked.signal,
      )
      if (built) return { image: built, [Symbol.dispose]: () => {} }
      const resolution = await resolveReference(
        {
          ledger: this.#ledger,
          policy,
          isPresent: (id) => this.#isPresent(id, asked.signal),
          guard: this.#guard,
          ask: (...question) => this.#ask(...question),
        },
        { reference, request },
        asked.signal,
      )
      if (resolution.action === 'use') {
        const { id, digest } = resolution.content
        const lease = await this.#leasePresent({ id, kinds: FROM_REGISTRY }, asked.signal)
        if (lease) return withDigest(lease, digest)
        // It was removed in this very moment.
        continue
      }
      const source = registrySource(
        resolution.reference,
        { shownAs: uri, ...(auth && { auth }), ...(platform && { platform }) },
        this.#bringOptions,
      )
      const lease = await this.#leaseOf(source, asked)
      await resolution.note(source.id)
      return withDigest(lease, resolution.reference.digest)
    }
  }

  async #isPresent(id: string, signal: AbortSignal): Promise<boolean> {
    if (!this.#seen.has(id) && (await this.#contents.find(id, signal, FROM_REGISTRY))) this.#seen.add(id)
    return this.#seen.has(id)
  }

  async #leasePresent(
    { id, kinds }: Pick<Source, 'id' | 'kinds'>,
    signal: AbortSignal,
  ): Promise<DockerLease | undefined> {
    const pin = this.#pins.take(id)
    try {
      const content = await this.#contents.find(id, signal, kinds)
      if (content) {
        this.#seen.add(id)
        this.#ledger.touch(id)
        return { image: content.image, content: id, [Symbol.dispose]: pin[Symbol.dispose] }
      }
      this.#seen.delete(id)
    } catch (error) {
      pin[Symbol.dispose]()
      throw error
    }
    pin[Symbol.dispose]()
    return undefined
  }

  async #leaseOf(source: Source, { signal, progress }: Asked): Promise<DockerLease> {
    const { log } = this.#options
    const present = await this.#leasePresent(source, signal)
    if (present) return present
    // Nothing is begun for who has left already: nobody would wait for it, or end it.
    signal.throwIfAborted()
    using _held = this.#pins.take(source.id)
    const startedAt = performance.now()
    await shareWork(this.#bringing, source.id, this.#options.signal, async (ended, tell) => {
      await source.bring(ended, tell)
      log.info('image is there', { image: source.shownAs, ms: Math.round(performance.now() - startedAt) })
    }).join(signal, progress)
    const brought = await this.#leasePresent(source, signal)
    if (brought) return brought
    throw new RuntimeError('image_pull_failed', `Image "${source.shownAs}" was removed while it was made`)
  }

  /** What a registry says for this login; all who ask the same at the same time wait for one answer. */
  #ask(reference: Reference, { uri, auth }: ImageRequest, signal: AbortSignal): Promise<string> {
    const { engine, pullTimeoutMs } = this.#options
    signal.throwIfAborted()
    const key = JSON.stringify([formatReference(reference), auth?.username, auth?.password])
    return shareWork(this.#asking, key, this.#options.signal, (ended) =>
      askDigest(engine, {
        reference,
        shownAs: uri,
        ...(auth && { auth }),
        signal: ended,
        timeoutMs: Math.min(pullTimeoutMs, ASK_TIMEOUT_MS),
      }),
    ).join(signal, () => {})
  }

  async #clearPending(): Promise<void> {
    const { engine, signal, log } = this.#options
    await this.#pending.open()
    for (const { id, name } of this.#pending.list()) {
      try {
        const isNamed = await this.#contents.find(id, signal, ['pulled'])
        if (!isNamed) await removeName(engine, name, signal)
        await this.#pending.end(id)
      } catch (error) {
        log.warn('what an interrupted pull has left could not be removed yet', {
          name,
          error: messageOf(error),
        })
      }
    }
  }

  get #bringOptions() {
    const { pullTimeoutMs, stallMs, maxUnpackedBytes } = this.#options
    return {
      contents: this.#contents,
      pending: this.#pending,
      folder: this.#folder,
      pullTimeoutMs,
      maxUnpackedBytes,
      ...(stallMs !== undefined && { stallMs }),
      ...(this.#unpacking && { unpacking: this.#unpacking }),
    }
  }
}

function withDigest(lease: DockerLease, digest: string | undefined): DockerLease {
  return digest === undefined ? lease : { ...lease, image: { ...lease.image, digest } }
}
