// The table. The place of a case in it is its number, which its token, its address and its port are made of.

import { ADDRESSES } from './addresses.ts'
import type { AttackCase } from './case.ts'
import { HTTP } from './http.ts'
import { NAMES } from './names.ts'
import { OWN_NETWORK } from './own-network.ts'
import { PACKETS } from './packets.ts'
import { PROXY } from './proxy.ts'
import { SOURCES } from './sources.ts'
import { TLS } from './tls.ts'

/** Number 0 would be an address of the attacker that is none. */
const NOBODY: AttackCase = {
  id: 'A-first-address',
  what: "the first address of the attacker's network",
  as: 'root',
  run: 'tcp(evil())',
  expect: 'blocked',
  recorded: 'connection',
}

export const CASES: readonly AttackCase[] = [
  NOBODY,
  ...PACKETS,
  ...SOURCES,
  ...OWN_NETWORK,
  ...ADDRESSES,
  ...NAMES,
  ...TLS,
  ...HTTP,
  ...PROXY,
]
