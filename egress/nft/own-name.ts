// The program nft under a name that only this installation calls it by. The kernel tells who has changed its rules by the name of the
// program, and so we know our own changes from those of others.

import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { SYSTEM_PATH } from '../../lib/run-program.ts'

export type OwnNft = { path: string; name: string }

/** Makes the name in a directory of ours. `key` is four hexadecimal digits: the kernel keeps 15 characters of a name. */
export function nameNft({ directory, key }: { directory: string; key: string }): OwnNft {
  const name = `nft-${key}`
  const found = SYSTEM_PATH.split(':')
    .map((each) => join(each, 'nft'))
    .find((each) => existsSync(each))
  const path = join(directory, name)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  rmSync(`${path}.new`, { force: true })
  symlinkSync(found ?? 'nft', `${path}.new`)
  renameSync(`${path}.new`, path)
  return { path, name }
}
