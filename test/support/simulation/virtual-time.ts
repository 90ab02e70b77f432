// Time that passes only when it is told to. All timers of this process, those of `node:timers/promises` and of
// `AbortSignal.timeout` too, wait in one queue, so a day of a program's life takes a moment, and takes the same course each time.
//
// Each timer belongs to the life in which it was set (`run`). A life that is ended at once (`kill`) loses its timers: what
// waited for them never goes on, as after SIGKILL.

import { AsyncLocalStorage } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import timersPromises from 'node:timers/promises'

export class Life {
  isOver = false
}

type Timer = { at: number; order: number; life: Life | undefined; act: () => void }

/** What is handed out for a timer; code asks for no more of it than this. */
type Handle = { ref(): Handle; unref(): Handle; hasRef(): boolean; [Symbol.toPrimitive](): number }

export type VirtualTime = {
  /** Milliseconds since it began; no jump of a clock changes it. */
  elapsed(): number
  /** Lets so much time pass, with everything that is due meanwhile in its order. `until` ends it early. */
  advance(ms: number, until?: () => boolean): Promise<void>
  /** Does something within a life. */
  run<T>(life: Life, work: () => T): T
  /** Does something outside of every life. */
  outside<T>(work: () => T): T
  /** Ends a life at this very moment. */
  kill(life: Life): void
  restore(): void
}

/** Takes the place of the platform's timers until `restore`. */
export function installVirtualTime(): VirtualTime {
  const real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    setImmediate: globalThis.setImmediate,
    abortTimeout: AbortSignal.timeout,
    delay: timersPromises.setTimeout,
    performanceNow: performance.now,
  }
  const lives = new AsyncLocalStorage<Life>()
  const timers = new Map<number, Timer>()
  let now = 0
  let order = 0

  const set = (act: () => void, ms: number): Handle => {
    const id = ++order
    const life = lives.getStore()
    if (!life?.isOver) timers.set(id, { at: now + Math.max(Math.ceil(ms), 1), order: id, life, act })
    const handle: Handle = {
      ref: () => handle,
      unref: () => handle,
      hasRef: () => true,
      [Symbol.toPrimitive]: () => id,
    }
    return handle
  }
  const clear = (handle: unknown) => {
    if (handle !== null && typeof handle === 'object' && Symbol.toPrimitive in handle)
      timers.delete(Number(handle))
  }
  const timeoutSignal = (ms: number): AbortSignal => {
    const controller = new AbortController()
    set(
      () => controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError')),
      ms,
    )
    return controller.signal
  }
  const delay = <T>(ms = 1, value?: T, { signal }: { signal?: AbortSignal } = {}): Promise<T> =>
    new Promise((resolve, reject) => {
      const leave = () => {
        clear(handle)
        reject(new DOMException('The operation was aborted', 'AbortError'))
      }
      const handle = set(() => {
        signal?.removeEventListener('abort', leave)
        resolve(value as T)
      }, ms)
      if (signal?.aborted) leave()
      else signal?.addEventListener('abort', leave, { once: true })
    })

  Object.assign(globalThis, {
    setTimeout: (act: (...args: unknown[]) => void, ms = 1, ...args: unknown[]) =>
      set(() => act(...args), ms),
    clearTimeout: clear,
  })
  AbortSignal.timeout = timeoutSignal
  performance.now = () => now
  Object.assign(timersPromises, { setTimeout: delay })
  syncBuiltinESMExports()

  /** Lets everything happen that waits for no timer. */
  const settle = async () => {
    for (let round = 0; round < 3; round++) await new Promise<void>((resolve) => real.setImmediate(resolve))
  }
  const next = (): Timer | undefined => {
    let first: Timer | undefined
    for (const timer of timers.values())
      if (!first || timer.at < first.at || (timer.at === first.at && timer.order < first.order)) first = timer
    return first
  }

  return {
    elapsed: () => now,
    async advance(ms, until = () => false) {
      const end = now + ms
      await settle()
      while (!until()) {
        const timer = next()
        if (!timer || timer.at > end) {
          now = end
          return
        }
        now = timer.at
        timers.delete(timer.order)
        if (timer.life) lives.run(timer.life, timer.act)
        else lives.exit(timer.act)
        await settle()
      }
    },
    run: (life, work) => lives.run(life, work),
    outside: (work) => lives.exit(work),
    kill(life) {
      life.isOver = true
      for (const [id, timer] of timers) if (timer.life === life) timers.delete(id)
    },
    restore() {
      Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout })
      AbortSignal.timeout = real.abortTimeout
      performance.now = real.performanceNow
      Object.assign(timersPromises, { setTimeout: real.delay })
      syncBuiltinESMExports()
    },
  }
}
