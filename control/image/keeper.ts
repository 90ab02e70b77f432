// What is done about images beside the starts of sandboxes: fetching some beforehand, and removing those that nobody needs.

import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { pause } from '../async.ts'
import { canonicalJson } from '../canonical-json.ts'
import { refusal } from '../errors.ts'
import type { ImageRequest, Images, StoredImage } from '../runtime/images.ts'
import { type Collected, collectImages, type KeepLimits } from './collect.ts'

export type PullOrder = ImageRequest & { isShared: boolean }

/** An image that is not there: it is coming, or could not be fetched. */
export type Pull = {
  uri: string
  state: 'Pulling' | 'Failed'
  message?: string
  startedAt: number
}

type Running = { pull: Pull; order: string; done: Promise<StoredImage> }

export type ImageKeeperOptions = {
  images: Images
  /** What stays without being asked for; everything when empty. */
  limits: KeepLimits
  /** How long one pull may take in all. */
  pullTimeoutMs: number
  now: () => number
  log: Logger
  /** Aborts when the program stops. */
  signal: AbortSignal
  everyMs?: number
}

const COLLECT_EVERY_MS = 5 * 60_000
const MAX_RUNNING = 16
/** Of failures the last ones are kept, until the same image comes or a start of the program. */
const MAX_FAILED = 50

export class ImageKeeper {
  readonly #options: ImageKeeperOptions
  readonly #running = new Map<string, Running>()
  readonly #failed = new Map<string, Pull>()

  constructor(options: ImageKeeperOptions) {
    this.#options = options
  }

  get images(): Images {
    return this.#options.images
  }

  get limits(): KeepLimits {
    return this.#options.limits
  }

  /** Begins to fetch an image, or joins who does so. It goes on whoever leaves. */
  pull(order: PullOrder): { pull: Pull; done: Promise<StoredImage> } {
    const { now, log } = this.#options
    const { uri } = order
    const asked = canonicalJson(order)
    const running = this.#running.get(uri)
    if (running && running.order !== asked)
      throw refusal('GENERAL::CONFLICT', `Image "${uri}" is being pulled already, in another way`)
    if (running) return running
    if (this.#running.size >= MAX_RUNNING)
      throw refusal('GENERAL::TOO_MANY_REQUESTS', `${MAX_RUNNING} images are being pulled: wait for one`)
    const pull: Pull = { uri, state: 'Pulling', startedAt: now() }
    const done = this.#fetch(order, pull)
    this.#failed.delete(uri)
    this.#running.set(uri, { pull, order: asked, done })
    done
      .then(
        ({ id, digest }) => log.info('image was pulled beforehand', { image: uri, id, digest }),
        (error) => {
          log.warn('an image could not be pulled beforehand', { image: uri, error: messageOf(error) })
          this.#failed.set(uri, { ...pull, state: 'Failed', message: messageOf(error) })
          for (const oldest of this.#failed.keys()) {
            if (this.#failed.size <= MAX_FAILED) break
            this.#failed.delete(oldest)
          }
        },
      )
      .finally(() => this.#running.delete(uri))
    return { pull, done }
  }

  /** What was asked for and is not there, the oldest first. */
  pulls(): Pull[] {
    const running = [...this.#running.values()].map(({ pull }) => pull)
    return [...this.#failed.values(), ...running].sort((one, other) => one.startedAt - other.startedAt)
  }

  /** Removes what the limits say, and nobody needs. */
  async collect(limits: KeepLimits, signal: AbortSignal): Promise<Collected> {
    const { images, now, log } = this.#options
    const collected = await collectImages(images, { limits, now: now(), signal })
    for (const { id, references, sizeBytes } of collected.removed)
      log.info('image was removed, as nobody needs it', { id, references, sizeBytes })
    return collected
  }

  /** Collects now and again, until the program stops, when there is a limit. */
  async run(): Promise<void> {
    const { limits, signal, log, everyMs = COLLECT_EVERY_MS } = this.#options
    const isBound = limits.maxAgeMs !== undefined || limits.maxBytes !== undefined
    while (!signal.aborted) {
      await pause(everyMs, signal)
      if (signal.aborted || !isBound) continue
      try {
        await this.collect(limits, signal)
      } catch (error) {
        if (!signal.aborted)
          log.warn('images could not be collected; it is tried again', { error: messageOf(error) })
      }
    }
    await Promise.allSettled([...this.#running.values()].map(({ done }) => done))
  }

  async #fetch(order: PullOrder, pull: Pull): Promise<StoredImage> {
    const { images, signal, pullTimeoutMs } = this.#options
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(pullTimeoutMs)])
    return await images.pull(order, deadline, (message) => {
      pull.message = message
    })
  }
}
