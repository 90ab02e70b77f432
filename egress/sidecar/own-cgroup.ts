// By what the kernel knows the sockets of egress from those of the pod's other containers: the cgroup of its container. A process cannot
// leave its cgroup for one that it may not write to, and no container sees another's.

import { createSocket } from 'node:dgram'
import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Nft, NftObject } from '../nft/apply.ts'

export type OwnCgroup = {
  /** Below /sys/fs/cgroup, where nft looks for it. */
  path: string
  /** How deep it lies, as this kernel counts. */
  level: number
}

/** Where nft looks for cgroups. */
const CGROUPS = '/sys/fs/cgroup'
const DEEPEST = 32
const PROBE_TABLE = 'opensandbox_probe'
/** Discards what it gets (RFC 863), if it is there at all. */
const DISCARD_PORT = 9

const CANNOT = 'Cannot tell egress from the other containers of the pod'

/**
 * The path of the cgroup that a process is in, from what /proc says of the process. Throws one sentence when there is none of version 2, or
 * when it is the one that everybody is in. Pure but for `exists`.
 */
export function findOwnCgroup({
  cgroup,
  mountinfo,
  exists = existsSync,
}: {
  cgroup: string
  mountinfo: string
  exists?: (path: string) => boolean
}): string {
  const own = /^0::(\/.*)$/m.exec(cgroup)?.[1]
  const mount = mountinfo
    .split('\n')
    .map((line) => line.split(' '))
    .find((fields) => fields[fields.indexOf('-') + 1] === 'cgroup2' && isBelow(CGROUPS, fields[4] ?? ''))
  if (own === undefined || !mount)
    throw new Error(`${CANNOT}: version 2 of control groups must be mounted below "${CGROUPS}"`)
  const [root = '', point = ''] = mount.slice(3, 5)
  // A mount can show a part of the tree, which then must be one that holds us.
  if (own.includes('..') || !isBelow(root, own))
    throw new Error(`${CANNOT}: "${point}" does not show the control group "${own}" of this process`)
  const path = join(point, relative(root, own))
  // Every group has this file but the one that is the root of all.
  if (!exists(join(path, 'cgroup.events')))
    throw new Error(
      `${CANNOT}: this process is in the root of all control groups, so it must be started in a container of its own`,
    )
  return relative(CGROUPS, path) || '.'
}

/**
 * Finds out how deep the group lies, by a packet to nobody: kernels count from the root of all groups, or, newer ones, from what the
 * container sees as the root. Rejects when none of them is told by its group.
 */
export async function probeOwnCgroup(nft: Pick<Nft, 'apply' | 'list'>, path: string): Promise<OwnCgroup> {
  const levels = Array.from({ length: DEEPEST }, (_, level) => level)
  await nft.apply(`add table inet ${PROBE_TABLE}
delete table inet ${PROBE_TABLE}
table inet ${PROBE_TABLE} {
  chain probe {
    type filter hook output priority raw; policy accept;
    oifname "lo" udp dport ${DISCARD_PORT} goto levels
  }
  chain levels {
${levels.map((level) => `    socket cgroupv2 level ${level} "${path}" counter comment "${level}"\n`).join('')}  }
}
`)
  try {
    await sendOne()
    const level = countedLevel((await nft.list('chain', 'inet', PROBE_TABLE, 'levels')) ?? [])
    if (level === undefined) throw new Error(`${CANNOT}: the kernel does not know its sockets by "${path}"`)
    return { path, level }
  } finally {
    await nft.apply(`delete table inet ${PROBE_TABLE}\n`)
  }
}

/** The one level whose rule has counted a packet. */
function countedLevel(objects: readonly NftObject[]): number | undefined {
  const counted = objects.flatMap(({ rule }) =>
    rule?.comment !== undefined && rule.expr?.some(({ counter }) => (counter?.packets ?? 0) > 0)
      ? [Number(rule.comment)]
      : [],
  )
  return counted.length === 1 ? counted[0] : undefined
}

async function sendOne(): Promise<void> {
  const socket = createSocket('udp4')
  try {
    await new Promise<void>((resolve, reject) => {
      socket.on('error', reject)
      socket.send('', DISCARD_PORT, '127.0.0.1', (error) => (error ? reject(error) : resolve()))
    })
  } finally {
    socket.close()
  }
}

function isBelow(directory: string, path: string): boolean {
  return directory === '/' || path === directory || path.startsWith(`${directory}/`)
}
