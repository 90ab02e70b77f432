// Between two lives of execd nobody listens on its port. A program of the sandbox that is not root could take it then, and be given the
// token by whoever asks next. So the socket is also held by a process that does nothing else and outlives execd: as long as it is
// there, the kernel gives the port to nobody but the same user, and only to who asks to share it, as the next life does.
// What connects meanwhile waits in the socket unread, and is told when the next life lets go of it that nobody has answered.

import { spawn } from 'node:child_process'
import { messageOf } from '../lib/errors.ts'
import type { Logger } from '../lib/log.ts'
import { isRunning, readProcess } from './command/process-table.ts'
import { hostProgram } from './runtime-dir.ts'

/**
 * One that no later life knows of would keep the socket for ever: it stays only once it is told that it has been noted. Stopped, it
 * takes no turn of a processor, and it goes on being so when the kernel tells it that nobody is left who could let it go on.
 */
const STAY = 'read -r _ || exit; trap "" HUP INT TERM; while :; do kill -STOP $$; done'

export type PortHolder = { pid: number; startTime: number }

export type PortHolderOptions = {
  /** The descriptor of a listening socket. */
  socketFd: number | undefined
  /** Writes down for the next life what it has to end. */
  note(holder: PortHolder): void
  log: Logger
}

/** Starts the process that holds a listening socket. Undefined, with a line in the log, when it cannot be. */
export function startPortHolder({ socketFd, note, log }: PortHolderOptions): PortHolder | undefined {
  try {
    if (socketFd === undefined) throw new Error('The socket has no descriptor')
    const [program = '', ...args] = hostProgram('dash')
    const child = spawn(program, [...args, '-c', STAY], {
      cwd: '/',
      env: {},
      stdio: ['pipe', 'ignore', 'ignore', socketFd],
      detached: true,
    }).on('error', (error) => warn(log, error))
    const { pid = 0, stdin } = child
    // It has ended by itself, which its end tells.
    stdin?.on('error', () => {})
    const startTime = readProcess(pid)?.startTime
    if (startTime === undefined) return undefined
    const holder = { pid, startTime }
    note(holder)
    stdin?.end('\n')
    return holder
  } catch (error) {
    warn(log, error)
    return undefined
  }
}

/** Ends a holder, of this life or of an earlier one, if it is still that. */
export function endPortHolder(holder: PortHolder | undefined): void {
  if (!holder || !isRunning(holder)) return
  try {
    process.kill(holder.pid, 'SIGKILL')
  } catch {
    // It has ended since the look.
  }
}

function warn(log: Logger, error: unknown): void {
  log.warn('nobody holds the port while execd is started again', { error: messageOf(error) })
}
