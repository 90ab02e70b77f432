// Which processes belong to a command: its first one, all children of members, everything in a session that a member has made,
// and whatever carries its mark. Nothing else is ever signalled, so what cannot be shown to belong stays out.

import type { SeenProcess } from './process-scanner.ts'
import { isDead, type ProcessEntry } from './process-table.ts'

export type Origin = {
  /** The first process, leader of its own session. */
  leader?: { pid: number; startTime: number }
  /** Whether a mark is the one of this command. */
  isMarked: (process: SeenProcess) => boolean
}

export type Member = ProcessEntry & {
  /** Whether all of its process group belongs, as the whole session does. */
  ownsGroup: boolean
}

/** The living members. `spared` are never among them, nor is anything in their sessions that has no other reason to be. */
export function findMembers(
  processes: SeenProcess[],
  { leader, isMarked }: Origin,
  spared: ReadonlySet<number>,
): Member[] {
  const byPid = new Map(processes.map((process) => [process.pid, process]))
  const foreignSessions = new Set(
    processes.filter(({ pid }) => spared.has(pid)).map(({ session }) => session),
  )
  const sessions = new Set<number>()
  if (leader) {
    const now = byPid.get(leader.pid)
    // A number that someone else has by now is no longer that of our session.
    if (!now || now.startTime === leader.startTime) sessions.add(leader.pid)
  }
  const members = new Set<number>()
  const belongs = (process: SeenProcess): boolean => {
    if (sessions.has(process.session) || isMarked(process)) return true
    const parent = byPid.get(process.parent)
    return parent !== undefined && members.has(parent.pid) && parent.startTime <= process.startTime
  }
  const candidates = processes.filter(({ pid }) => !spared.has(pid))
  for (let before = -1; before < members.size; ) {
    before = members.size
    for (const process of candidates) {
      if (members.has(process.pid) || !belongs(process)) continue
      members.add(process.pid)
      // A member is in the session that it was born in or in one of its own making. Made by a member that is gone, it is ours too.
      const isOurs = process.session === process.pid || !byPid.has(process.session)
      if (isOurs && process.session > 1 && !foreignSessions.has(process.session))
        sessions.add(process.session)
    }
  }
  return candidates
    .filter((process) => members.has(process.pid) && !isDead(process))
    .map(({ marks: _, ...process }) => ({ ...process, ownsGroup: sessions.has(process.session) }))
}
