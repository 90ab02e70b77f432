// Asking control to let a paused sandbox go on, once for all who wait for it.

import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { askControl } from '../ask-control.ts'
import { REFUSED, type Refusal } from '../decision/refusal.ts'

export type WakerOptions = {
  socketPath: string
  log: Logger
  /** How long a sandbox may take; control's own time is shorter. */
  timeoutMs: number
}

/** Why a sandbox could not be woken; undefined when it runs again. */
export type Waker = (id: string) => Promise<Refusal | undefined>

/** As many sandboxes are woken side by side. */
const MAX_WAKES = 64

export function createWaker({ socketPath, log, timeoutMs }: WakerOptions): Waker {
  const running = new Map<string, Promise<Refusal | undefined>>()

  async function wake(id: string): Promise<Refusal | undefined> {
    try {
      const { status, text } = await askControl({
        socketPath,
        method: 'POST',
        path: `/wake/${encodeURIComponent(id)}`,
        signal: AbortSignal.timeout(timeoutMs),
      })
      if (status === 204) return undefined
      if (status === 404) return REFUSED.unknown()
      if (status < 400) throw new Error(`Control answers ${status}`)
      log.warn('a sandbox could not be woken', { sandbox: id, status })
      // That of a sandbox which may not be woken is the same as ever.
      const { code } = JSON.parse(text) as { code: string }
      return status === 409 && code === 'DOCKER::SANDBOX_NOT_RUNNING' ? REFUSED.paused() : REFUSED.notWoken()
    } catch (error) {
      log.warn('a sandbox could not be woken', { sandbox: id, error: messageOf(error) })
      return REFUSED.notWoken()
    } finally {
      running.delete(id)
    }
  }

  return (id) => {
    const known = running.get(id)
    if (known) return known
    if (running.size >= MAX_WAKES) return Promise.resolve(REFUSED.busy())
    const waking = wake(id)
    running.set(id, waking)
    return waking
  }
}
