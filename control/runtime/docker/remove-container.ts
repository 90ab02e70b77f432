// Finding, ending and removing the container of a sandbox, whatever state it is in. Only what is proven to be ours is touched.

import { setTimeout as delay } from 'node:timers/promises'
import type { ContainerInspectInfo } from 'dockerode'
import { EngineRefusal, isMissing } from './engine.ts'
import type { DockerParts } from './parts.ts'

const LOOK_EVERY_MS = 20

type Named = {
  id: string
  /** Docker's id, where the record has it. */
  container: string | undefined
}

/** The container of a sandbox; undefined when there is none, or somebody else's has its name. */
export async function findContainer(
  { engine, ownership }: DockerParts,
  { id, container }: Named,
  signal: AbortSignal,
): Promise<ContainerInspectInfo | undefined> {
  try {
    const found = await engine.call(
      (abortSignal) => engine.docker.getContainer(container ?? ownership.nameOf(id)).inspect({ abortSignal }),
      { signal },
    )
    const isOurs = ownership.idOf({ name: found.Name, labels: found.Config.Labels ?? {} }) === id
    return isOurs ? found : undefined
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Sends a signal to the first process of a container; a frozen one is woken first, as it takes none. */
export async function signalContainer(
  { engine }: DockerParts,
  container: string,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const found = engine.docker.getContainer(container)
  const send = () =>
    engine.call((abortSignal) => found.kill({ signal: name, abortSignal } as object), { signal })
  try {
    await send()
  } catch (error) {
    // It has ended meanwhile, is gone, or is frozen.
    if (!(error instanceof EngineRefusal)) throw error
    if (await wake({ engine }, container, signal)) await send().catch(unlessRefused)
  }
}

/** Kills what runs in the container of a sandbox and removes it with what it has written; fine when there is none. */
export async function removeContainer(parts: DockerParts, named: Named, signal: AbortSignal): Promise<void> {
  const { engine } = parts
  const target = named.container ?? (await findContainer(parts, named, signal))?.Id
  if (target === undefined) return
  const container = engine.docker.getContainer(target)
  for (;;) {
    try {
      await engine.call((abortSignal) => container.remove({ force: true, v: true, abortSignal } as object), {
        signal,
      })
      return
    } catch (error) {
      if (isMissing(error)) return
      if (!(error instanceof EngineRefusal)) throw error
      // Somebody else is removing it, or it is frozen. What stands in the way for longer is the caller's to hear of.
      const isPassing = error.status === 409 && /already in progress/.test(error.message)
      if (!isPassing && !(await wake(parts, target, signal))) throw error
      await delay(LOOK_EVERY_MS, undefined, { signal })
    }
  }
}

/** Lets a frozen container go on; false when it was not frozen. */
async function wake(
  { engine }: Pick<DockerParts, 'engine'>,
  container: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await engine.call((abortSignal) => engine.docker.getContainer(container).unpause({ abortSignal }), {
      signal,
    })
    return true
  } catch (error) {
    unlessRefused(error)
    return false
  }
}

function unlessRefused(error: unknown): void {
  if (!(error instanceof EngineRefusal)) throw error
}
