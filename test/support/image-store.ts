// A store of images in a directory of its own, and short ways to ask it.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { ImageStore, type ImageStoreOptions } from '../../control/image/store.ts'
import type { ImageRequest } from '../../control/runtime/images.ts'
import { createLogger } from '../../lib/log.ts'

export const NEVER = new AbortController().signal

export type TestStore = {
  store: ImageStore
  dataDir: string
  /** What lies in its directory, but for the ledger. */
  left(): string[]
  /** How many images were made. */
  made(): number
  /** The text of a file of an image. */
  read(request: ImageRequest & { isShared?: boolean }, path?: string): Promise<string>
}

export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'images-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export async function openStore(options: Partial<ImageStoreOptions> = {}): Promise<TestStore> {
  const dataDir = options.dataDir ?? makeFolder()
  const lines: string[] = []
  const store = await ImageStore.open({
    aliases: {},
    insecureRegistries: [],
    pullTimeoutMs: 30_000,
    maxUnpackedBytes: 1 << 30,
    policy: 'IfNotPresent',
    log: createLogger({ program: 'control', level: 'info', write: (line) => void lines.push(line) }),
    now: Date.now,
    signal: NEVER,
    ...options,
    dataDir,
  })
  return {
    store,
    dataDir,
    left: () => readdirSync(join(dataDir, 'images')).filter((name) => name !== 'ledger.json'),
    made: () => lines.filter((line) => line.includes('image is there')).length,
    async read(request, path = 'etc/says') {
      using lease = await store.lease(request, NEVER)
      return readFileSync(join(lease.image.rootfs, path), 'utf8')
    },
  }
}
