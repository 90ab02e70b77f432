// The images of the local runtime, each unpacked once and shared by all sandboxes that are made of it. A reference is resolved in this
// order: alias, `host`, archive, what is on the machine and may be used by whoever asks, registry.

import { join } from 'node:path'
import type { PullPolicy } from '../../lib/api/images.ts'
import type { Logger } from '../../lib/log.ts'
import type { ImageRequest, Images, Removal, StoredImage } from '../runtime/images.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { adoptOldContents } from './adopt.ts'
import { type Content, Contents } from './contents.ts'
import { imageFailure } from './failure.ts'
import type { Image } from './image.ts'
import { keptIds } from './kept.ts'
import { Ledger } from './ledger.ts'
import { Pins } from './pins.ts'
import { formatReference, type Reference } from './reference.ts'
import { askDigest } from './registry.ts'
import { createRegistryGuard, type RegistryGuard } from './registry-guard.ts'
import { resolveReference, targetOf } from './resolve.ts'
import { type Progress, type SharedWork, shareWork } from './shared-work.ts'
import { archiveSource, hostSource, registrySource, type Source, type SourceOptions } from './sources.ts'

export type ImageStoreOptions = SourceOptions & {
  dataDir: string
  /** Alias to reference, or to the path of an archive. */
  aliases: Record<string, string>
  insecureRegistries: string[]
  /** Those that may be asked although they are at addresses of this machine; the insecure ones may, too. */
  internalRegistries?: string[]
  /** For requests that name none; `Never` is for all. */
  policy: PullPolicy
  log: Logger
  now: () => number
  /** Ends what is still being pulled. */
  signal: AbortSignal
}

/** An image that is not removed before this is disposed of. */
export type ImageLease = Disposable & { image: Image }

type Asked = { signal: AbortSignal; progress: Progress }
type PullRequest = ImageRequest & { isShared?: boolean }

/** How long a registry has for saying what a reference stands for. */
const ASK_TIMEOUT_MS = 60_000

export class ImageStore implements Images {
  readonly #options: ImageStoreOptions
  readonly #contents: Contents
  readonly #ledger: Ledger
  readonly #pins = new Pins()
  readonly #guard: RegistryGuard
  readonly #building = new Map<string, SharedWork<Content>>()
  readonly #asking = new Map<string, SharedWork<string>>()
  readonly #users: (() => Promise<string[]>)[] = []

  private constructor(options: ImageStoreOptions, contents: Contents) {
    const { log, now } = options
    this.#options = options
    this.#contents = contents
    const { aliases, insecureRegistries, internalRegistries = [] } = options
    this.#guard = createRegistryGuard({ aliases, allowed: [...insecureRegistries, ...internalRegistries] })
    this.#ledger = new Ledger({ path: join(contents.folder, 'ledger.json'), log, now })
  }

  /** Opens the store and clears what an interrupted build has left. */
  static async open(options: ImageStoreOptions): Promise<ImageStore> {
    const store = new ImageStore(options, await Contents.open(join(options.dataDir, 'images')))
    await adoptOldContents(store.#contents, store.#ledger, options.aliases)
    return store
  }

  /** Lets somebody say which images are needed by what they have made: their ids, one for each need. */
  keepFor(user: () => Promise<string[]>): void {
    this.#users.push(user)
  }

  /**
   * The image of a request, from the store or made now; `progress` is told how far that is. Rejects with RuntimeError, or the signal's
   * reason.
   */
  async lease(request: PullRequest, signal: AbortSignal, progress: Progress = () => {}): Promise<ImageLease> {
    const { uri } = request
    const asked = { signal, progress }
    const target = targetOf(uri, this.#options.aliases)
    if (target.kind === 'host') return await this.#leaseOf(hostSource(), asked)
    if (target.kind === 'archive')
      return await this.#leaseOf(await archiveSource(uri, target.path, this.#options), asked)
    return await this.#leaseFromRegistry(target.reference, request, asked)
  }

  async pull(request: PullRequest, signal: AbortSignal, progress?: Progress): Promise<StoredImage> {
    using lease = await this.lease(request, signal, progress)
    const found = (await this.list()).find(({ id }) => id === lease.image.id)
    if (!found) throw new Error(`The image "${request.uri}" is not there after it was pulled`)
    return { ...found, users: found.users - 1 }
  }

  async list(): Promise<StoredImage[]> {
    const [contents, used, kept] = await Promise.all([this.#contents.list(), this.#used(), this.#kept()])
    return contents
      .map(({ id, reference, digest, origin, sizeBytes, createdAt }) => {
        const names = this.#ledger.namesOf(id)
        const isLocal = origin !== 'registry'
        return {
          id,
          references: isLocal ? [reference] : names.references,
          ...(digest !== undefined && { digest }),
          origin,
          sizeBytes,
          isShared: isLocal || names.isShared,
          createdAt,
          lastUsedAt: this.#ledger.lastUse(id) ?? createdAt,
          users: used.filter((other) => other === id).length + this.#pins.count(id),
          isKept: kept.has(id),
        }
      })
      .sort((one, other) => other.lastUsedAt - one.lastUsedAt)
  }

  async remove(id: string): Promise<Removal> {
    if (!this.#contents.has(id)) return 'absent'
    const stamp = this.#pins.stamp(id)
    const used = await this.#used()
    // Between here and the removal nobody comes: a start that came meanwhile has left its stamp, even if it has ended since.
    if (used.includes(id) || this.#pins.count(id) > 0 || this.#pins.stamp(id) !== stamp) return 'in_use'
    if (!this.#contents.has(id)) return 'absent'
    const gone = this.#contents.remove(id)
    await this.#ledger.forget(id)
    await gone
    return 'removed'
  }

  /** Writes down what only this process knows. */
  async close(): Promise<void> {
    await this.#ledger.close()
  }

  async #leaseFromRegistry(reference: Reference, request: PullRequest, asked: Asked): Promise<ImageLease> {
    const { policy, insecureRegistries } = this.#options
    const { uri, auth } = request
    for (;;) {
      const resolution = await resolveReference(
        {
          ledger: this.#ledger,
          policy,
          isPresent: (id) => this.#contents.has(id),
          guard: this.#guard,
          ask: (...question) => this.#ask(...question),
        },
        { reference, request },
        asked.signal,
      )
      if (resolution.action === 'use') {
        const lease = await this.#leasePresent(resolution.content.id)
        if (lease) return lease
        // It was removed in this very moment.
        continue
      }
      const isInsecure = insecureRegistries.includes(reference.registry)
      const source = registrySource(
        resolution.reference,
        { shownAs: uri, ...(auth && { auth }), isInsecure },
        this.#options,
      )
      const lease = await this.#leaseOf(source, asked)
      await resolution.note(source.id)
      return lease
    }
  }

  async #leasePresent(id: string): Promise<ImageLease | undefined> {
    const pin = this.#pins.take(id)
    try {
      const image = await this.#contents.get(id)
      if (image) {
        this.#ledger.touch(id)
        return { image, [Symbol.dispose]: pin[Symbol.dispose] }
      }
    } catch (error) {
      pin[Symbol.dispose]()
      throw error
    }
    pin[Symbol.dispose]()
    return undefined
  }

  async #leaseOf(source: Source, { signal, progress }: Asked): Promise<ImageLease> {
    const present = await this.#leasePresent(source.id)
    if (present) return present
    // Nothing is begun for who has left already: nobody would wait for it, or end it.
    signal.throwIfAborted()
    const pin = this.#pins.take(source.id)
    try {
      const image = await shareWork(this.#building, source.id, this.#options.signal, (ended, tell) =>
        this.#build(source, { signal: ended, progress: tell }),
      ).join(signal, progress)
      this.#ledger.touch(source.id)
      return { image, [Symbol.dispose]: pin[Symbol.dispose] }
    } catch (error) {
      pin[Symbol.dispose]()
      throw error
    }
  }

  async #build(source: Source, asked: Asked): Promise<Content> {
    const { log, now } = this.#options
    const { shownAs } = source
    const startedAt = performance.now()
    try {
      await this.#contents.build(source, { ...asked, now })
    } catch (error) {
      asked.signal.throwIfAborted()
      throw imageFailure(error, 'image_pull_failed', `Cannot make image "${shownAs}"`)
    }
    log.info('image is there', { image: shownAs, ms: Math.round(performance.now() - startedAt) })
    const image = await this.#contents.get(source.id)
    if (!image)
      throw new RuntimeError('image_pull_failed', `Image "${shownAs}" was removed while it was made`)
    return image
  }

  /** What a registry says for this login; all who ask the same at the same time wait for one answer. */
  #ask(reference: Reference, { uri, auth }: ImageRequest, signal: AbortSignal): Promise<string> {
    const { insecureRegistries, proxyEnvironment, pullTimeoutMs } = this.#options
    signal.throwIfAborted()
    const key = JSON.stringify([formatReference(reference), auth?.username, auth?.password])
    return shareWork(this.#asking, key, this.#options.signal, (ended) =>
      askDigest({
        reference,
        shownAs: uri,
        ...(auth && { auth }),
        isInsecure: insecureRegistries.includes(reference.registry),
        ...(proxyEnvironment && { env: proxyEnvironment }),
        folder: this.#contents.folder,
        signal: ended,
        timeoutMs: Math.min(pullTimeoutMs, ASK_TIMEOUT_MS),
      }),
    ).join(signal, () => {})
  }

  async #used(): Promise<string[]> {
    return (await Promise.all(this.#users.map((user) => user()))).flat()
  }

  #kept(): Promise<Set<string>> {
    const { aliases, log } = this.#options
    return keptIds({
      aliases,
      ledger: this.#ledger,
      log,
      idOf: async (alias, target) =>
        target.kind === 'host'
          ? hostSource().id
          : (await archiveSource(alias, target.path, this.#options)).id,
    })
  }
}
