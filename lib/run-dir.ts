// What is left in the directory of an installation's sockets when nobody uses it any more.

import { readdir, rm, rmdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { systemCodeOf } from './errors.ts'
import type { Instance } from './instance.ts'

/** Whether a program listens on a Unix socket. One that was killed leaves its socket, and nobody listens there. */
export function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error) =>
      resolve(systemCodeOf(error) !== 'ECONNREFUSED' && systemCodeOf(error) !== 'ENOENT'),
    )
  })
}

/**
 * Removes it, with sockets that killed programs have left and directories that are empty. Nothing is removed while a program of the
 * installation listens there, and nothing that still holds a sandbox.
 */
export async function removeRunDir({ runDir }: Pick<Instance, 'runDir'>): Promise<void> {
  const entries = await readdir(runDir, { withFileTypes: true }).catch(unless('ENOENT'))
  if (!entries) return
  const pathsOf = (kind: 'isSocket' | 'isDirectory') =>
    entries.filter((entry) => entry[kind]()).map(({ name }) => join(runDir, name))
  const sockets = pathsOf('isSocket')
  const listening = await Promise.all(sockets.map(isListening))
  if (listening.includes(true)) return
  for (const path of sockets) await rm(path, { force: true })
  // What is mounted is busy.
  for (const path of [...pathsOf('isDirectory'), runDir])
    await rmdir(path).catch(unless('ENOTEMPTY', 'EBUSY', 'ENOENT'))
}

function unless(...codes: string[]): (error: unknown) => undefined {
  return (error) => {
    if (!codes.includes(systemCodeOf(error) ?? '')) throw error
    return undefined
  }
}
