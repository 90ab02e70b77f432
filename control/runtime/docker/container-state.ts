// What a sandbox on Docker is, judged by what there is of it: its record, its container, its process. Pure.

import type { ExitFile } from '../../../lib/api/guest.ts'
import type { RuntimeSandbox } from '../runtime.ts'

export type Container = {
  /** Docker's own word: created, running, paused, restarting, removing, exited, dead. */
  state: string
  exitCode?: number
  oomKilled?: boolean
}

export type Found = {
  id: string
  /** Absent where a crash has left none, or half of one. */
  record?: { address: string; complete: boolean }
  /** Absent when there is none, or somebody else's. */
  container?: Container
  /** Whether the process that was given the sandbox's network still runs. */
  isRunning: boolean
  /** What execd has said of the end. */
  exit?: ExitFile
}

const UNKNOWN_EXIT_CODE = 137

export function decideState({ id, record, container, isRunning, exit }: Found): RuntimeSandbox {
  if (!record?.complete) return { id, state: 'incomplete' }
  const { address } = record
  if (isRunning && container?.state === 'running') return { id, state: 'running', address }
  if (isRunning && container?.state === 'paused') return { id, state: 'paused', address }
  const exitCode = exit?.exitCode ?? container?.exitCode ?? UNKNOWN_EXIT_CODE
  const message = exit?.message ?? whyEnded(container, exit !== undefined)
  return { id, state: 'exited', exitCode, ...(message !== undefined && { message }) }
}

function whyEnded(container: Container | undefined, isToldByExecd: boolean): string | undefined {
  if (container?.oomKilled) return 'killed: out of memory'
  if (isToldByExecd) return undefined
  if (!container) return 'its container was removed from outside'
  // It has a network no more, and its entrypoint is not started again.
  if (container.state === 'running' || container.state === 'paused')
    return 'its container was started again from outside'
  return 'ended from outside, or the Docker daemon or the machine was restarted'
}

/** The exit code in what a listing says, such as `Exited (137) 2 seconds ago`. */
export function exitCodeIn(status: string): number | undefined {
  const code = /^Exited \((\d{1,3})\)/.exec(status)?.[1]
  return code === undefined ? undefined : Number(code)
}
