// Reads the files of authorities of an image that lies in the daemon: from a container that is made for it and never started. It has the
// name and the labels of its sandbox's, so that whatever clears the sandbox clears it, too.

import { BUNDLE_PATHS, type Bundle, MAX_BUNDLE_BYTES } from '../trust/trust-files.ts'
import { isMissing } from './engine.ts'
import type { DockerParts } from './parts.ts'

type PathStat = { size: number; mode: number; linkTarget: string }

const BLOCK = 512
/** How the daemon marks what is neither file nor link (Go, io/fs.FileMode). */
const NO_FILE = 0x8f280000

export async function readImageBundles(
  { engine, ownership }: Pick<DockerParts, 'engine' | 'ownership'>,
  { id, image }: { id: string; image: string },
  signal: AbortSignal,
): Promise<Bundle[]> {
  const container = await engine.call((abortSignal) =>
    engine.docker.createContainer({
      name: ownership.nameOf(id),
      Labels: ownership.labelsOf(id),
      Image: image,
      Entrypoint: ['/never-started'],
      HostConfig: { NetworkMode: 'none' },
      abortSignal,
    }),
  )
  /** What the daemon has at a path, links resolved within the container; undefined when there is nothing. */
  const look = async (path: string): Promise<{ path: string; stat: PathStat } | undefined> => {
    try {
      const answer: { headers?: Record<string, string>; resume?: () => void } = await engine.call(
        (abortSignal) => container.infoArchive({ path, abortSignal }),
        { signal },
      )
      answer.resume?.()
      const told = answer.headers?.['x-docker-container-path-stat'] ?? ''
      const stat = JSON.parse(Buffer.from(told, 'base64').toString()) as PathStat
      return stat.linkTarget === '' ? { path, stat } : await look(stat.linkTarget)
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }
  try {
    const bundles = new Map<string, Bundle>()
    for (const path of BUNDLE_PATHS) {
      const found = await look(path)
      if (!found || bundles.has(found.path)) continue
      if ((found.stat.mode & NO_FILE) !== 0 || found.stat.size > MAX_BUNDLE_BYTES) continue
      const archive = await engine.call(
        async (abortSignal) => readAll(await container.getArchive({ path: found.path, abortSignal })),
        { signal },
      )
      const text = firstFileOf(archive)
      if (text !== undefined) bundles.set(found.path, { path: found.path, text: text.toString() })
    }
    return [...bundles.values()]
  } finally {
    await engine.call((abortSignal) => container.remove({ force: true, v: true, abortSignal }))
  }
}

/** The content of the first file of a tar archive; undefined when it has none. */
export function firstFileOf(archive: Buffer): Buffer | undefined {
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const header = archive.subarray(at, at + BLOCK)
    const size = Number.parseInt(header.toString('latin1', 124, 136), 8)
    if (!(size >= 0)) return undefined
    const begin = at + BLOCK
    const type = String.fromCharCode(header[156] ?? 0)
    if (type === '0' || type === '\0') return archive.subarray(begin, begin + size)
    at = begin + Math.ceil(size / BLOCK) * BLOCK
  }
  return undefined
}

async function readAll(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk)
    size += bytes.length
    if (size > MAX_BUNDLE_BYTES + 64 * BLOCK)
      throw new Error('A file of authorities is larger than it was said to be')
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}
