// Takes names from images in the daemon. With its last name an image goes, unless a container needs it.

import { parseReference, pinned } from '../../../image/reference.ts'
import { contentId } from '../../../image/sources.ts'
import { type Engine, EngineRefusal, isMissing } from '../engine.ts'
import type { InspectedImage } from './inspect.ts'

/** Removes one name, and what bears no other; false when a container needs it. Fine when there is no such name. */
export async function removeName(engine: Engine, name: string, signal: AbortSignal): Promise<boolean> {
  try {
    await engine.call((abortSignal) => engine.docker.getImage(name).remove({ abortSignal } as object), {
      signal,
    })
  } catch (error) {
    if (error instanceof EngineRefusal && error.status === 409) return false
    if (!isMissing(error)) throw error
  }
  return true
}

/** The name with a digest that a content was pulled by, as the daemon has it. */
export function digestNameOf(image: InspectedImage, content: string): string | undefined {
  return image.digests.find((name) => {
    const parsed = parseReference(name)
    if (!('reference' in parsed) || parsed.reference.digest === undefined) return false
    return contentId(`registry ${pinned(parsed.reference, parsed.reference.digest)}`) === content
  })
}

/** How many containers there are of each image, running or not, whoever's they are. */
export async function countContainers(engine: Engine, signal: AbortSignal): Promise<Map<string, number>> {
  const containers = await engine.call(
    (abortSignal) => engine.docker.listContainers({ all: true, abortSignal }),
    { signal },
  )
  const counts = new Map<string, number>()
  for (const { ImageID } of containers) counts.set(ImageID, (counts.get(ImageID) ?? 0) + 1)
  return counts
}
