// Which certificate is shown to whom: the first whose names fit the one that the client asks for, else the first of all. Files are looked
// at again every few seconds, so that a renewed certificate is shown without a restart; while they cannot be read, or do not belong
// together, what was shown goes on being shown.

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { CertificateFiles } from '../../lib/config/front.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { KeyAndCertificate } from '../../lib/x509.ts'

type Shown = { pair: KeyAndCertificate; context: SecureContext; fits(name: string): boolean }

const LOOK_MS = 5000
const MAX_FILE_BYTES = 1024 * 1024

export class Certificates {
  readonly #files: readonly CertificateFiles[]
  readonly #log: Logger
  #shown: readonly Shown[]
  #seen: string
  #revision = 0

  private constructor(
    files: readonly CertificateFiles[],
    log: Logger,
    shown: readonly Shown[],
    seen: string,
  ) {
    this.#files = files
    this.#log = log
    this.#shown = shown
    this.#seen = seen
  }

  /** From files. Rejects with one sentence on what is wrong with which. */
  static async load(files: readonly CertificateFiles[], log: Logger): Promise<Certificates> {
    const seen = await lookAt(files)
    return new Certificates(files, log, await Promise.all(files.map(loadOne)), seen)
  }

  /** One that is in no file that could change. */
  static of(pair: KeyAndCertificate, log: Logger): Certificates {
    return new Certificates([], log, [show(pair)], '')
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
    return (this.#shown.find(({ fits }) => fits(name)) ?? this.#shown[0])?.context
  }

  /** Reads the files again when one of them has changed. */
  async refresh(): Promise<void> {
    const seen = await lookAt(this.#files)
    if (seen === this.#seen) return
    try {
      this.#shown = await Promise.all(this.#files.map(loadOne))
      this.#revision++
      this.#log.info('certificates were read again')
    } catch (error) {
      this.#log.error('certificates cannot be read again: those there were are shown', {
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

async function loadOne({ certificate, key }: CertificateFiles): Promise<Shown> {
  const pair = { certificate: await read(certificate), key: await read(key) }
  try {
    return show(pair)
  } catch (error) {
    throw new Error(
      `Cannot use the certificate "${certificate}" with the key "${key}": ${messageOf(error)}`,
      {
        cause: error,
      },
    )
  }
}

function show({ certificate, key }: KeyAndCertificate): Shown {
  const parsed = new X509Certificate(certificate)
  if (!parsed.checkPrivateKey(createPrivateKey(key))) throw new Error('they do not belong together')
  return {
    pair: { certificate, key },
    context: createSecureContext({ cert: certificate, key, minVersion: 'TLSv1.2' }),
    fits: (name) => parsed.checkHost(name) !== undefined,
  }
}

async function read(path: string): Promise<string> {
  try {
    const { size } = await stat(path)
    if (size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`)
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new Error(`Cannot read "${path}": ${messageOf(error)}`, { cause: error })
  }
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
