// Which certificate is shown to whom: the first whose names fit the one that the client asks for, else the first of all. Files are looked
// at again every few seconds, so that a renewed certificate is shown without a restart; while they cannot be read, or do not belong
// together, what was shown goes on being shown.

import { stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { SecureContext } from 'node:tls'
import type { CertificateFiles } from '../../lib/config/front.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import {
  findDoubtful,
  findUseless,
  parsePair,
  readServerCertificate,
  type ServerCertificate,
} from '../../lib/server-certificates.ts'
import type { KeyAndCertificate } from '../../lib/x509.ts'

type Shown = Pick<ServerCertificate, 'pair' | 'context' | 'parsed'>

export type CertificatesOptions = {
  /** The domain below which sandboxes have names. */
  domain: string
  now: () => number
  log: Logger
}

const LOOK_MS = 5000

export class Certificates {
  readonly #files: readonly CertificateFiles[]
  readonly #options: CertificatesOptions
  #shown: readonly Shown[]
  #seen: string
  #revision = 0

  private constructor(
    files: readonly CertificateFiles[],
    options: CertificatesOptions,
    shown: readonly Shown[],
    seen: string,
  ) {
    this.#files = files
    this.#options = options
    this.#shown = shown
    this.#seen = seen
  }

  /** From files. Rejects with one sentence on what is wrong with which. */
  static async load(files: readonly CertificateFiles[], options: CertificatesOptions): Promise<Certificates> {
    const seen = await lookAt(files)
    return new Certificates(files, options, await load(files, options), seen)
  }

  /** One that is in no file that could change. */
  static of(pair: KeyAndCertificate, options: CertificatesOptions): Certificates {
    return new Certificates([], options, [parsePair(pair)], '')
  }

  /** Another number when others are shown. */
  get revision(): number {
    return this.#revision
  }

  /** For who asks for no name. */
  get first(): KeyAndCertificate | undefined {
    return this.#shown[0]?.pair
  }

  contextFor(name: string): SecureContext | undefined {
    return (this.#shown.find(({ parsed }) => parsed.checkHost(name) !== undefined) ?? this.#shown[0])?.context
  }

  /** Reads the files again when one of them has changed. */
  async refresh(): Promise<void> {
    const seen = await lookAt(this.#files)
    if (seen === this.#seen) return
    const { log } = this.#options
    try {
      this.#shown = await load(this.#files, this.#options)
      this.#revision++
      log.info('certificates were read again')
    } catch (error) {
      log.error('certificates cannot be read again: those there were are shown', {
        error: messageOf(error),
      })
    }
    this.#seen = seen
  }

  /** Looks again and again until `signal` aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // The wait ends early when the gateway stops, which the loop's condition sees.
      await delay(LOOK_MS, undefined, { signal }).catch(() => {})
      if (!signal.aborted) await this.refresh()
    }
  }
}

/** Reads them all. What is wrong with one that is shown all the same goes to the log. */
async function load(
  files: readonly CertificateFiles[],
  { domain, now, log }: CertificatesOptions,
): Promise<readonly Shown[]> {
  const read = await Promise.all(files.map(readServerCertificate))
  for (const what of [...findUseless(read, now()), ...findDoubtful(read, domain)]) log.warn(what)
  return read
}

/** Another text when a file is another. */
async function lookAt(files: readonly CertificateFiles[]): Promise<string> {
  const paths = files.flatMap(({ certificate, key }) => [certificate, key])
  const looks = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        ({ mtimeMs, size, ino }) => `${mtimeMs} ${size} ${ino}`,
        // That a file is gone is a change, and the reading will say so.
        () => 'gone',
      ),
    ),
  )
  return looks.join('\n')
}
