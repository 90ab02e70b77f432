import { join } from 'node:path'
import type { ExitFile } from '../../lib/api/guest.ts'
import { readJson } from './watch-file.ts'

/** How execd says that the sandbox ended, or undefined when it could not, or what is there is forged. */
export function readExit(exchange: string): ExitFile | undefined {
  const found = readJson<Partial<ExitFile> | null>(join(exchange, 'exit.json'))
  const exitCode = found?.exitCode
  if (typeof exitCode !== 'number' || !Number.isInteger(exitCode) || exitCode < 0 || exitCode > 255)
    return undefined
  return { exitCode, ...(typeof found?.message === 'string' && { message: found.message.slice(0, 1000) }) }
}
