// What is left in the directory of an installation's sockets when nobody uses it any more.

import { lstat, readdir, rm, rmdir } from 'node:fs/promises'
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
  const names = await readdir(runDir).catch(unless('ENOENT'))
  if (!names) return
  const sockets: string[] = []
  const directories: string[] = []
  for (const path of names.map((name) => join(runDir, name))) {
    // By itself: in what Deno lists of a directory, nothing is a socket.
    const found = await lstat(path).catch(unless('ENOENT'))
    if (found?.isSocket()) sockets.push(path)
    if (found?.isDirectory()) directories.push(path)
  }
  const listening = await Promise.all(sockets.map(isListening))
  if (listening.includes(true)) return
  for (const path of sockets) await rm(path, { force: true })
  // What is mounted is busy.
  for (const path of [...directories, runDir]) await rmdir(path).catch(unless('ENOTEMPTY', 'EBUSY', 'ENOENT'))
}

function unless(...codes: string[]): (error: unknown) => undefined {
  return (error) => {
    if (!codes.includes(systemCodeOf(error) ?? '')) throw error
    return undefined
  }
}
