// The configuration read again while a program runs: what can change takes effect, what cannot is named, and a file that is
// wrong changes nothing.

import { changesBetween, type Settings } from './config/changes.ts'
import { type Config, ConfigError, type LoadedConfig } from './config.ts'
import { messageOf } from './errors.ts'
import type { Logger } from './log.ts'

export type ReloadOptions = {
  /** What the program runs with. */
  settings: Settings
  /** Reads everything again. Throws ConfigError. */
  load: () => LoadedConfig
  /** Names of settings and of sections that `apply` takes. */
  reloadable: readonly string[]
  /** Names of what another program takes, and tells. */
  elsewhere?: readonly string[]
  /** Makes a configuration count. When it throws ConfigError, the one before goes on counting. */
  apply: (config: Config, changed: string[]) => void | Promise<void>
  /** Absent where another program tells the same. */
  log?: Logger
}

/** A function that reads the configuration again; called while it does so, it does so once more. */
export function createReload(options: ReloadOptions): () => Promise<void> {
  const { settings, load, reloadable, elsewhere = [], apply, log } = options
  let inForce = settings
  let running: Promise<void> = Promise.resolve()
  let isWaiting = false
  const isIn = (names: readonly string[], name: string) =>
    names.some((known) => name === known || name.startsWith(`${known}.`))
  const isReloadable = (name: string) => isIn(reloadable, name)

  async function reload(): Promise<void> {
    isWaiting = false
    try {
      const { config, settings: next } = load()
      const names = changesBetween(inForce, next)
      const changed = names.filter(isReloadable)
      const needsRestart = names.filter((name) => !isReloadable(name) && !isIn(elsewhere, name))
      if (changed.length > 0) await apply(config, changed)
      inForce = new Map(
        [...inForce].map(([name, value]) => [name, isReloadable(name) ? next.get(name) : value]),
      )
      log?.info('the configuration was read again', {
        changed: changed.join(', ') || 'nothing',
        ...(needsRestart.length > 0 && { needsRestart: needsRestart.join(', ') }),
      })
    } catch (error) {
      log?.error('the configuration cannot be read again: everything stays as it was', {
        problems: error instanceof ConfigError ? error.problems : messageOf(error),
      })
    }
  }

  return () => {
    if (!isWaiting) {
      isWaiting = true
      running = running.then(reload)
    }
    return running
  }
}
