// The thread of a LayerThread: copies a tree in passes, and reads digests. It ends with the work, or when it is terminated.

import { parentPort, workerData } from 'node:worker_threads'
import { messageOf, systemCodeOf } from '../../../../lib/errors.ts'
import { LayerCopy, TreeRefused } from './copy.ts'
import { digestOf } from './digest.ts'
import { AT_FDCWD, Libc } from './libc.ts'

export type LayerWork =
  | { what: 'copy'; from: string; to: string; leaveOut: string[] }
  | { what: 'digest'; layer: string; firstId: number }

export type LayerOrder =
  | { what: 'pass'; isLive: boolean; forced: string[] }
  /** Takes a layer into the copy that the copied one has lain upon. */
  | { what: 'below'; layer: string }
  | { what: 'end' }

export type LayerAnswer =
  | { what: 'ready' }
  | { what: 'passed'; entries: number; changed: number; bytes: number; sizeBytes: number }
  | { what: 'digest'; digest: string }
  | { what: 'failed'; message: string; code?: string; isRefused: boolean }

const tell = (answer: LayerAnswer) => parentPort?.postMessage(answer)

function attempt(work: () => void): void {
  try {
    work()
  } catch (error) {
    const code = systemCodeOf(error)
    tell({
      what: 'failed',
      message: messageOf(error),
      ...(code !== undefined && { code }),
      isRefused: error instanceof TreeRefused,
    })
  }
}

function open(libc: Libc, path: string): number {
  const fd = libc.openDirectory(AT_FDCWD, Buffer.from(`${path}\0`))
  if (fd === undefined) throw Object.assign(new Error(`There is no directory "${path}"`), { code: 'ENOENT' })
  return fd
}

function copyBelow(libc: Libc, layer: string, to: number): void {
  const from = open(libc, layer)
  try {
    const copy = new LayerCopy(libc, { from, to, leaveOut: new Set(), isBelow: true })
    const result = copy.pass({ isLive: false })
    tell({ what: 'passed', ...result, sizeBytes: copy.sizeBytes() })
  } finally {
    libc.close(from)
  }
}

attempt(() => {
  const { work, stop } = workerData as { work: LayerWork; stop: Int32Array }
  // Descriptors are the process's: a thread that was terminated would leave them open.
  const libc = new Libc(() => {
    if (Atomics.load(stop, 0) === 1) throw new Error('The work was ended')
  })
  if (work.what === 'digest') {
    const root = open(libc, work.layer)
    try {
      // What a power cut would take is no content yet.
      libc.sync(root)
      tell({ what: 'digest', digest: digestOf(libc, root, work.firstId) })
    } finally {
      libc.close(root)
    }
    return
  }
  const from = open(libc, work.from)
  const to = open(libc, work.to)
  const copy = new LayerCopy(libc, { from, to, leaveOut: new Set(work.leaveOut) })
  parentPort?.on('message', (order: LayerOrder) => {
    if (order.what === 'end') {
      for (const fd of [from, to]) libc.close(fd)
      parentPort?.close()
      return
    }
    if (order.what === 'below') return attempt(() => copyBelow(libc, order.layer, to))
    const { isLive, forced } = order
    attempt(() => {
      const result = copy.pass({ isLive, forced: new Set(forced) })
      tell({ what: 'passed', ...result, sizeBytes: isLive ? 0 : copy.sizeBytes() })
    })
  })
  tell({ what: 'ready' })
})
