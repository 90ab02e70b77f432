// What one installation has in the kernel: a table and a mark that are named after it, and the one program that changes them.

import type { Logger } from '../lib/log.ts'
import { runProgram } from '../lib/run-program.ts'
import { markOf } from './connections/routing.ts'
import { Nft } from './nft/apply.ts'
import { openKernelWriter } from './nft/netlink/kernel-writer.ts'
import { nameNft, type OwnNft } from './nft/own-name.ts'
import { tableName } from './nft/rules.ts'

export type OwnRules = {
  table: string
  /** Of packets that are led to egress. */
  mark: number
  nft: Nft
  /** The program nft, by the name that only this installation calls it. */
  ownNft: OwnNft
}

/** `key` is the installation's. `isTeardown`: little is changed, and nft does it. */
export function openOwnRules({
  key,
  stateDir,
  isTeardown = false,
  log,
}: {
  key: string
  stateDir: string
  isTeardown?: boolean
  log: Logger
}): OwnRules {
  const ownNft = nameNft({ directory: stateDir, key })
  const writer = isTeardown ? undefined : openKernelWriter(log)
  const nft = new Nft(runProgram, { program: ownNft.path, ...(writer && { writer }) })
  return { table: tableName(key), mark: markOf(key), nft, ownNft }
}
