// A few directories that the sandbox, or execd, cannot live without: they are never removed or replaced, by whatever way they are
// reached.

import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { execdError } from '../http/answer.ts'
import { decodeName, nativePath } from './name.ts'

/** Refuses to remove or replace `path` when it is, holds, or lies in a directory that the sandbox cannot live without. */
export function refuseVital(path: string, vital: string[]): void {
  for (const dir of ['/', '/proc', '/sys', '/dev'])
    if (path === dir)
      throw execdError('INVALID_REQUEST_BODY', `Cannot remove or replace "${path}": the sandbox needs it`)
  for (const dir of vital)
    if (path === dir || path.startsWith(`${dir}/`) || dir.startsWith(`${path}/`))
      throw execdError('INVALID_REQUEST_BODY', `Cannot remove or replace "${path}": execd needs "${dir}"`)
}

/** Refuses to write into a directory that is, or lies in, one that execd needs. */
export async function refuseInsideVital(dir: string, vital: string[]): Promise<void> {
  const real = await realPlace(dir)
  if (vital.some((one) => real === one || real.startsWith(`${one}/`)))
    throw execdError('INVALID_REQUEST_BODY', `Cannot write to "${dir}": execd needs it`)
}

/** `refuseVital` for where `path` really is, should a directory on the way to it be a link. */
export async function refuseVitalPlace(path: string, vital: string[]): Promise<void> {
  refuseVital(path, vital)
  if (path !== '/') refuseVital(join(await realPlace(dirname(path)), basename(path)), vital)
}

/** `dir` without links; what does not exist is taken as it stands. */
async function realPlace(dir: string): Promise<string> {
  try {
    return decodeName(await realpath(nativePath(dir), { encoding: 'buffer' }))
  } catch (error) {
    const code = systemCodeOf(error)
    if ((code !== 'ENOENT' && code !== 'ENOTDIR') || dir === '/') throw error
    return join(await realPlace(dirname(dir)), basename(dir))
  }
}
