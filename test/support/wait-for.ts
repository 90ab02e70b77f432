// How tests wait for what comes by itself: until it is there, or for so long that a machine with other work would have come to it.

import { vi } from 'vitest'
import { PATIENCE_MS } from './patience.ts'

/** Calls until it throws no more; what it gave then. */
export function waitFor<T>(check: () => T | Promise<T>, { interval = 50 } = {}): Promise<T> {
  return vi.waitFor(check, { timeout: PATIENCE_MS, interval })
}

/** Calls until what it gives is true; that. */
export function waitUntil<T>(check: () => T | Promise<T>, { interval = 50 } = {}): Promise<Truthy<T>> {
  return vi.waitUntil(check, { timeout: PATIENCE_MS, interval }) as Promise<Truthy<T>>
}

type Truthy<T> = T extends false | '' | 0 | null | undefined ? never : T
