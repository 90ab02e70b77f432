// What each program does first: it reads its configuration, makes its data directory, and refuses in one sentence what
// cannot work.

import { mkdirSync, readFileSync } from 'node:fs'
import { isatty } from 'node:tty'
import { ConfigError, type ConfigSources, type LoadedConfig, loadConfig } from './config.ts'
import { messageOf, systemCodeOf } from './errors.ts'

/** Ends the process with exit code 1 and this sentence on standard error. */
export function refuse(message: string): never {
  console.error(message)
  process.exit(1)
}

/** The configuration of file, environment and arguments; the process ends when it is wrong. */
export function readConfiguration(options: Omit<ConfigSources, 'readFile'>): LoadedConfig {
  return orRefuse(() => loadConfiguration(options))
}

/** Reads the configuration anew. Throws ConfigError. */
export function loadConfiguration(options: Omit<ConfigSources, 'readFile'>): LoadedConfig {
  return loadConfig({ ...options, readFile: readConfigurationFile })
}

/** Whether a terminal is where this process reads or writes. */
export function hasTerminal(): boolean {
  return [0, 1, 2].some((descriptor) => isatty(descriptor))
}

/** What `read` returns; a ConfigError that it throws ends the process. */
export function orRefuse<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof ConfigError) refuse(error.message)
    throw error
  }
}

/** Makes the data directory for our eyes only, if it is not there; the process ends when it cannot be made. */
export function makeDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  } catch (error) {
    refuse(`Cannot make the data directory "${dataDir}": ${messageOf(error)}`)
  }
}

/** The text of a configuration; undefined when there is none. Throws ConfigError when it cannot be read. */
export function readConfigurationFile(path: string): string | undefined {
  try {
    return readIfThere(path)
  } catch (error) {
    throw new ConfigError([`Cannot read the configuration "${path}": ${messageOf(error)}`])
  }
}

/** The text of a file; undefined when there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
